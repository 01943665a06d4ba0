//! A node of the store: value, children, permissions.

use std::rc::Rc;

use hypercall_abi::DomId;
use imbl::OrdMap;

use crate::xenstore::permission::{Access, Permission};

/// One entry of a node's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it was set.
    pub permission: Permission,
    /// The domain that it was about is gone (or never was): it gives nothing to a later domain with the same number (XSA-322).
    pub stale: bool,
}

impl From<Permission> for Entry {
    fn from(permission: Permission) -> Self {
        Self {
            permission,
            stale: false,
        }
    }
}

/// Who may do what with a node; never empty. The first entry is the owner and what everybody else may do.
pub type Permissions = Rc<[Entry]>;

/// The owner of a node with these permissions.
#[must_use]
pub fn owner(permissions: &[Entry]) -> DomId {
    permissions[0].permission.domain
}

/// What `domain` may do by these permissions; `target` is the domain that it acts for (SET_TARGET).
#[must_use]
pub fn access_of(permissions: &[Entry], domain: DomId, target: Option<DomId>) -> Access {
    let is_asker = |other: DomId| other == domain || Some(other) == target;
    let (first, rest) = (&permissions[0], &permissions[1..]);
    if is_asker(first.permission.domain) {
        return Access::all();
    }
    rest.iter()
        .find(|entry| !entry.stale && is_asker(entry.permission.domain))
        .map_or(first.permission.access, |entry| entry.permission.access)
}

/// The children of a node, in the order of their making. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Children {
    names: OrdMap<u64, Rc<str>>,
    bytes: usize,
}

impl Children {
    /// Adds a child; `born` is its [`Node::born`].
    pub fn insert(&mut self, born: u64, name: &str) {
        if let Some(old) = self.names.insert(born, name.into()) {
            self.bytes -= old.len() + 1;
        }
        self.bytes += name.len() + 1;
    }

    /// Takes a child out.
    pub fn remove(&mut self, born: u64) {
        if let Some(old) = self.names.remove(&born) {
            self.bytes -= old.len() + 1;
        }
    }

    /// The names, the oldest child first.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.names.values().map(|name| &**name)
    }

    /// The name of the child that was born then.
    #[must_use]
    pub fn name(&self, born: u64) -> Option<&str> {
        self.names.get(&born).map(|name| &**name)
    }

    /// When the child with this name was born: most likely at `guess`.
    #[must_use]
    pub fn born(&self, name: &str, guess: u64) -> Option<u64> {
        if self.name(guess) == Some(name) {
            return Some(guess);
        }
        self.names
            .iter()
            .find(|(_, other)| ***other == *name)
            .map(|(born, _)| *born)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes of the names, each with a nul.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The children as `DIRECTORY` lists them: each name with a nul.
    #[must_use]
    pub fn listing(&self) -> Vec<u8> {
        let mut list = Vec::with_capacity(self.bytes);
        for name in self.names() {
            list.extend_from_slice(name.as_bytes());
            list.push(0);
        }
        list
    }
}

/// A node. Cloning is cheap: a transaction keeps clones of what it has seen.
#[derive(Clone, Debug)]
pub struct Node {
    /// Changes with every change of the node, and is never the same for two nodes.
    pub generation: u64,
    /// When it was made: the order among its parent's children.
    pub born: u64,
    /// The value.
    pub value: Rc<[u8]>,
    /// What is below.
    pub children: Children,
    /// Who may do what.
    pub permissions: Permissions,
}

impl Node {
    /// A node without children.
    #[must_use]
    pub fn new(born: u64, value: &[u8], permissions: Permissions) -> Self {
        Self {
            generation: 0,
            born,
            value: value.into(),
            children: Children::default(),
            permissions,
        }
    }

    /// Bytes that the limit of a node's size counts: as 4.17 keeps a record, with its header and 8 bytes for each permission.
    #[must_use]
    pub fn size(&self) -> usize {
        const HEADER: usize = 24;
        const PERMISSION: usize = 8;
        HEADER + PERMISSION * self.permissions.len() + self.value.len() + self.children.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(u16, Access)]) -> Vec<Entry> {
        list.iter()
            .map(|(domain, access)| Permission::new(DomId(*domain), *access).into())
            .collect()
    }

    #[test]
    fn the_first_entry_is_the_owner_and_everybody_else() {
        let list = entries(&[(1, Access::READ), (2, Access::WRITE), (2, Access::READ)]);
        assert_eq!(access_of(&list, DomId(1), None), Access::all());
        assert_eq!(access_of(&list, DomId(2), None), Access::WRITE);
        assert_eq!(access_of(&list, DomId(3), None), Access::READ);
        assert_eq!(access_of(&list, DomId(3), Some(DomId(1))), Access::all());
    }

    #[test]
    fn a_stale_entry_gives_nothing() {
        let mut list = entries(&[(1, Access::empty()), (2, Access::READ)]);
        list[1].stale = true;
        assert_eq!(access_of(&list, DomId(2), None), Access::empty());
    }
}
