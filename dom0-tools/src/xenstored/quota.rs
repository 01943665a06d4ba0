//! How much an unprivileged domain may have.
//!
//! Names, defaults and texts are those of 4.17's `-Q` option and `CONTROL quota`. A value of 0 means no limit where 4.17 treats it so.

use std::fmt::Write;

use crate::xenstore::path;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    name: &'static str,
    value: usize,
    text: &'static str,
}

/// Names a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nodes owned by a domain.
    Nodes,
    /// Watches of a domain.
    Watches,
    /// Transactions that a domain has open.
    Transactions,
    /// Requests whose answer or events somebody has not taken yet.
    Outstanding,
    /// Nodes touched by a transaction.
    TransactionNodes,
    /// Bytes a domain makes the daemon keep.
    Memory,
    /// Bytes of a node.
    NodeSize,
    /// Bytes of a path.
    PathMax,
    /// Entries of a node's permissions.
    Permissions,
}

/// All limits.
#[derive(Clone, Debug)]
pub struct Quotas {
    hard: [Quota; 9],
    soft_memory: usize,
}

const fn quota(name: &'static str, value: usize, text: &'static str) -> Quota {
    Quota { name, value, text }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            hard: [
                quota("nodes", 1000, "Nodes per domain"),
                quota("watches", 128, "Watches per domain"),
                quota("transactions", 10, "Transactions per domain"),
                quota("outstanding", 20, "Outstanding requests per domain"),
                quota(
                    "transaction-nodes",
                    1024,
                    "Max. number of accessed nodes per transaction",
                ),
                quota(
                    "memory",
                    (2 << 20) + (512 << 10),
                    "Total Xenstore memory per domain (error level)",
                ),
                quota("node-size", 2048, "Max. size of a node"),
                quota("path-max", path::DEFAULT_MAX, "Max. length of a node path"),
                quota("permissions", 5, "Max. number of permissions per node"),
            ],
            soft_memory: 2 << 20,
        }
    }
}

impl Quotas {
    /// The value of a limit.
    #[must_use]
    pub const fn get(&self, limit: Limit) -> usize {
        self.hard[limit as usize].value
    }

    /// Sets a limit.
    pub const fn set(&mut self, limit: Limit, value: usize) {
        self.hard[limit as usize].value = value;
    }

    /// Sets the limit with this name; whether there is one.
    pub fn set_named(&mut self, name: &str, value: usize) -> bool {
        let found = self.hard.iter_mut().find(|quota| quota.name == name);
        found.map(|quota| quota.value = value).is_some()
    }

    /// Sets the level from which on a warning is logged; whether there is one with this name.
    pub fn set_soft_named(&mut self, name: &str, value: usize) -> bool {
        if name == "memory" {
            self.soft_memory = value;
        }
        name == "memory"
    }

    /// Bytes from which on a warning is logged.
    #[must_use]
    pub const fn soft_memory(&self) -> usize {
        self.soft_memory
    }

    /// The limits as `CONTROL quota` prints them.
    #[must_use]
    pub fn listing(&self) -> String {
        listing(&self.hard)
    }

    /// The levels as `CONTROL quota-soft` prints them.
    #[must_use]
    pub fn soft_listing(&self) -> String {
        listing(&[quota(
            "memory",
            self.soft_memory,
            "Total Xenstore memory per domain (warning level)",
        )])
    }
}

fn listing(quotas: &[Quota]) -> String {
    let mut text = "Quota settings:\n".to_owned();
    for quota in quotas {
        let _ = writeln!(text, "{:<17}: {:8} {}", quota.name, quota.value, quota.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_entry() {
        let quotas = Quotas::default();
        for (limit, name) in [
            (Limit::Nodes, "nodes"),
            (Limit::Watches, "watches"),
            (Limit::Transactions, "transactions"),
            (Limit::Outstanding, "outstanding"),
            (Limit::TransactionNodes, "transaction-nodes"),
            (Limit::Memory, "memory"),
            (Limit::NodeSize, "node-size"),
            (Limit::PathMax, "path-max"),
            (Limit::Permissions, "permissions"),
        ] {
            assert_eq!(quotas.hard[limit as usize].name, name);
        }
    }
}
