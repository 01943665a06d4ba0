//! Transactions that are repeated until they hold, and a list of nodes to write in one.

use super::{Perms, Store, StoreError, Tx};

/// More attempts than any number of busy neighbours makes necessary.
const ATTEMPTS: u32 = 1000;

/// Runs `work` in a transaction, again if others changed the same nodes meanwhile.
///
/// # Errors
/// Those of `work`, after which the transaction is given up, or the store's.
pub fn transact<R, E: From<StoreError>>(
    store: &dyn Store,
    mut work: impl FnMut(Tx) -> Result<R, E>,
) -> Result<R, E> {
    for _ in 0..ATTEMPTS {
        let tx = store.begin()?;
        match work(tx) {
            Ok(result) => {
                if store.end(tx, true)? {
                    return Ok(result);
                }
            }
            Err(error) => {
                // The error to report is the first one.
                let _ = store.end(tx, false);
                return Err(error);
            }
        }
    }
    Err(StoreError::Refused {
        request: "transaction".into(),
        error: "EAGAIN".into(),
    }
    .into())
}

/// One node to write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    path: String,
    value: String,
    perms: Option<Perms>,
}

/// Nodes to write together. A node without rights of its own has those of its parent, as the daemon does it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    nodes: Vec<Node>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node with its parent's rights.
    pub fn add(&mut self, path: impl Into<String>, value: impl Into<String>) {
        self.nodes.push(Node {
            path: path.into(),
            value: value.into(),
            perms: None,
        });
    }

    /// Adds a node with rights of its own.
    pub fn add_with(&mut self, path: impl Into<String>, value: impl Into<String>, perms: &Perms) {
        self.nodes.push(Node {
            path: path.into(),
            value: value.into(),
            perms: Some(perms.clone()),
        });
    }

    /// Adds nodes below `folder`, with its rights.
    pub fn add_all<V: Into<String>>(
        &mut self,
        folder: &str,
        nodes: impl IntoIterator<Item = (&'static str, V)>,
    ) {
        for (name, value) in nodes {
            self.add(format!("{folder}/{name}"), value);
        }
    }

    /// Paths and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.nodes
            .iter()
            .map(|node| (node.path.as_str(), node.value.as_str()))
    }

    /// Writes all nodes in `tx`.
    ///
    /// # Errors
    /// The store's.
    pub fn write(&self, store: &dyn Store, tx: Tx) -> Result<(), StoreError> {
        for node in &self.nodes {
            store.write(tx, &node.path, node.value.as_bytes())?;
            if let Some(perms) = &node.perms {
                store.set_perms(tx, &node.path, perms)?;
            }
        }
        Ok(())
    }
}
