//! Permissions as the protocol spells them: a letter for the access and the number of a domain.
//!
//! Contract: xenstore.txt, `GET_PERMS` and `SET_PERMS`. The first entry of a node's list names its owner and what everybody else may
//! do; each further one what one domain may do.

use std::fmt;

use hypercall_abi::{DomId, Errno};

bitflags::bitflags! {
    /// What a domain may do with a node.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// See the value, the children and the permissions.
        const READ = 1;
        /// Change the value, add and remove.
        const WRITE = 2;
        /// Change the permissions. Nobody is given this by an entry: it comes with being the owner.
        const OWN = 4;
    }
}

/// One entry of a node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// Whom it is about.
    pub domain: DomId,
    /// What it allows.
    pub access: Access,
}

impl Permission {
    /// An entry that allows `domain` this much; as the first of a list: owned by `domain`, and this much for everybody.
    #[must_use]
    pub const fn new(domain: DomId, access: Access) -> Self {
        Self { domain, access }
    }

    /// Reads `n0`, `r5`, `w5`, `b5`.
    ///
    /// # Errors
    /// `EINVAL` for anything else; `ENOENT` for a number that no domain can have.
    pub fn parse(text: &[u8]) -> Result<Self, Errno> {
        let (letter, number) = text.split_first().ok_or(Errno::EINVAL)?;
        let access = match letter {
            b'n' => Access::empty(),
            b'r' => Access::READ,
            b'w' => Access::WRITE,
            b'b' => Access::READ | Access::WRITE,
            _ => return Err(Errno::EINVAL),
        };
        let number = std::str::from_utf8(number).map_err(|_| Errno::EINVAL)?;
        let number: u64 = number.parse().map_err(|_| Errno::EINVAL)?;
        let domain = u16::try_from(number).map_err(|_| Errno::ENOENT)?;
        Ok(Self::new(DomId(domain), access))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match (
            self.access.contains(Access::READ),
            self.access.contains(Access::WRITE),
        ) {
            (false, false) => 'n',
            (true, false) => 'r',
            (false, true) => 'w',
            (true, true) => 'b',
        };
        write!(f, "{letter}{}", self.domain.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written_alike() {
        for text in ["n0", "r1", "w2", "b65535"] {
            assert_eq!(
                Permission::parse(text.as_bytes()).unwrap().to_string(),
                text
            );
        }
        for bad in ["", "n", "x1", "r-1", "r1x", "R1"] {
            let error = Permission::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(error, Errno::EINVAL, "{bad:?}");
        }
        let error = Permission::parse(b"r65536").unwrap_err();
        assert_eq!(error, Errno::ENOENT);
    }
}
