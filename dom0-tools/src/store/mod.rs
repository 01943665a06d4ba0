//! What the toolstack needs of xenstore, as a trait, and a client of the daemon.
//!
//! Contract: docs/misc/xenstore.txt and public/io/xs_wire.h. Errors are the daemon's strings (`ENOENT`), kept as numbers.

use std::fmt;

use hypercall_abi::Errno;

mod connection;
mod transaction;

pub use connection::Connection;
pub use transaction::{Batch, transact};

/// A transaction's id; [`Tx::NONE`] for single operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tx(pub u32);

impl Tx {
    /// No transaction.
    pub const NONE: Self = Self(0);
}

/// Who may do what with a node: the first entry is the owner and the rights of everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perms(pub String);

impl Perms {
    /// Nobody but dom0.
    #[must_use]
    pub fn private() -> Self {
        Self("n0\0".into())
    }

    /// dom0's, readable by `domain`.
    #[must_use]
    pub fn read_by(domain: u16) -> Self {
        Self(format!("n0\0r{domain}\0"))
    }

    /// `domain`'s own.
    #[must_use]
    pub fn owned_by(domain: u16) -> Self {
        Self(format!("n{domain}\0"))
    }

    /// `domain`'s own, readable by `backend`.
    #[must_use]
    pub fn owned_by_read_by(domain: u16, backend: u16) -> Self {
        Self(format!("n{domain}\0r{backend}\0"))
    }
}

/// A change under a watched path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What changed.
    pub path: String,
    /// The token given with the watch.
    pub token: String,
}

/// A request to xenstore that failed.
#[derive(Debug)]
pub enum StoreError {
    /// The daemon cannot be reached; where it was looked for.
    NoDaemon(String),
    /// The daemon refused; what, and its error.
    Refused {
        /// The request and the path.
        request: String,
        /// The daemon's error.
        error: String,
    },
    /// The connection broke.
    Broken(std::io::Error),
}

impl StoreError {
    /// Whether the daemon answered `errno`.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused { error, .. } if *error == format!("{errno:?}"))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon(tried) => write!(
                f,
                "xenstored does not run (tried {tried}): start xeno-xenstored, which the init script does"
            ),
            Self::Refused { request, error } => {
                let reason = match error.as_str() {
                    "ENOENT" => "no such node",
                    "EACCES" => "not permitted",
                    "EEXIST" => "exists already",
                    "ENOSPC" => "the owner's quota is used up",
                    "EQUOTA" => "the owner's quota is used up",
                    "EINVAL" => "invalid path or value",
                    "EAGAIN" => "another transaction changed the same nodes",
                    "EBUSY" => "too many transactions",
                    "E2BIG" => "too long",
                    _ => "failed",
                };
                write!(f, "xenstore: {request}: {reason} ({error})")
            }
            Self::Broken(error) => write!(f, "the connection to xenstored broke: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Operations on the store. Paths are absolute.
pub trait Store {
    /// A node's value; None if there is no such node.
    ///
    /// # Errors
    /// Not permitted, or no connection.
    fn read(&self, tx: Tx, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The names of a node's children, sorted; None if there is no such node.
    ///
    /// # Errors
    /// Not permitted, or no connection.
    fn list(&self, tx: Tx, path: &str) -> Result<Option<Vec<String>>, StoreError>;

    /// Writes a node, made with its parents if it does not exist.
    ///
    /// # Errors
    /// Not permitted, the quota is used up, or no connection.
    fn write(&self, tx: Tx, path: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Makes an empty node unless there is one.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn mkdir(&self, tx: Tx, path: &str) -> Result<(), StoreError>;

    /// Removes a node with all below it; whether there was one.
    ///
    /// # Errors
    /// Not permitted, or no connection.
    fn remove(&self, tx: Tx, path: &str) -> Result<bool, StoreError>;

    /// Sets a node's owner and rights.
    ///
    /// # Errors
    /// No such node, not permitted, or no connection.
    fn set_perms(&self, tx: Tx, path: &str, perms: &Perms) -> Result<(), StoreError>;

    /// A node's owner and rights.
    ///
    /// # Errors
    /// No such node, not permitted, or no connection.
    fn perms(&self, tx: Tx, path: &str) -> Result<Perms, StoreError>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// Too many are open, or no connection.
    fn begin(&self) -> Result<Tx, StoreError>;

    /// Ends a transaction; whether its changes hold now. They do not when others changed the same nodes meanwhile.
    ///
    /// # Errors
    /// No such transaction, or no connection.
    fn end(&self, tx: Tx, commit: bool) -> Result<bool, StoreError>;

    /// Asks for an event now and at every change of `path` or below.
    ///
    /// # Errors
    /// Too many watches, or no connection.
    fn watch(&self, path: &str, token: &str) -> Result<(), StoreError>;

    /// Undoes [`Self::watch`].
    ///
    /// # Errors
    /// No such watch, or no connection.
    fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError>;

    /// The next event, waited for until `timeout` (None: for ever).
    ///
    /// # Errors
    /// No connection.
    fn event(&self, timeout: Option<std::time::Duration>)
    -> Result<Option<WatchEvent>, StoreError>;

    /// Tells the daemon of a domain, whose ring is the frame `mfn` and whose events come from `port`.
    ///
    /// # Errors
    /// The ring cannot be mapped, or no connection.
    fn introduce(&self, domain: u16, mfn: u64, port: u32) -> Result<(), StoreError>;

    /// Makes the daemon forget a domain.
    ///
    /// # Errors
    /// It does not know it, or no connection.
    fn release(&self, domain: u16) -> Result<(), StoreError>;

    /// Tells the daemon that a domain that had shut down goes on.
    ///
    /// # Errors
    /// It does not know it, or no connection.
    fn resume(&self, domain: u16) -> Result<(), StoreError>;
}

impl dyn Store + '_ {
    /// A node's value as text; None if there is no such node.
    ///
    /// # Errors
    /// As for [`Store::read`].
    pub fn text(&self, path: &str) -> Result<Option<String>, StoreError> {
        let value = self.read(Tx::NONE, path)?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// A node's value as a decimal number; None if there is none.
    ///
    /// # Errors
    /// As for [`Store::read`].
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Result<Option<T>, StoreError> {
        Ok(self.text(path)?.and_then(|text| text.trim().parse().ok()))
    }

    /// The names of a node's children; none if there is no such node.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub fn children(&self, path: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.list(Tx::NONE, path)?.unwrap_or_default())
    }

    /// A node's children that are numbers, in order.
    ///
    /// # Errors
    /// As for [`Store::list`].
    pub fn numbered(&self, path: &str) -> Result<Vec<u32>, StoreError> {
        let mut numbers: Vec<u32> = self
            .children(path)?
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
