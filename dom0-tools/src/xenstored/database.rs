//! The tree that everybody sees.
//!
//! A map from paths to nodes, so that every operation costs the depth of its path at most. A node knows the names of its children; a
//! path exists only if its parent does. The database counts what each domain owns and remembers which nodes name a domain, so that
//! the end of a domain touches only those, and notes every change for the journal.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use hypercall_abi::DomId;

use super::node::{Entry, Node, Permissions, owner};
use crate::xenstore::path;
use crate::xenstore::permission::{Access, Permission};

/// What a domain owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Nodes.
    pub nodes: usize,
    /// Bytes of paths and records.
    pub bytes: usize,
}

/// A change that the journal has to keep.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which node.
    pub path: Rc<str>,
    /// What it is now; `None` if it is gone. The children are not part of it: they are told by their own changes.
    pub node: Option<Node>,
}

/// The tree.
#[derive(Debug)]
pub struct Database {
    nodes: HashMap<Rc<str>, Node>,
    accounts: HashMap<DomId, Account>,
    mentions: HashMap<DomId, HashSet<Rc<str>>>,
    counter: u64,
    writes: u64,
    changes: Vec<Change>,
}

impl Default for Database {
    /// A tree of nothing but `/`, which belongs to the control domain.
    fn default() -> Self {
        let mut database = Self {
            nodes: HashMap::new(),
            accounts: HashMap::new(),
            mentions: HashMap::new(),
            counter: 1,
            writes: 0,
            changes: Vec::new(),
        };
        let permissions: Permissions =
            [Entry::from(Permission::new(DomId(0), Access::empty()))].into();
        database.put("/", Node::new(0, b"", permissions));
        database
    }
}

impl Database {
    /// The node at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// A number larger than any before: for generations and births.
    pub const fn tick(&mut self) -> u64 {
        let now = self.counter;
        self.counter += 1;
        now
    }

    /// How often the tree has been written to.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// Makes later numbers greater than `counter`.
    pub fn advance(&mut self, counter: u64) {
        self.counter = self.counter.max(counter.saturating_add(1));
    }

    /// Puts a node in place of what is at `path`, with a new generation. The caller sees to the parent's children.
    pub fn put(&mut self, path: &str, mut node: Node) {
        node.generation = self.tick();
        self.writes += 1;
        self.set(path, node);
    }

    /// Puts a node with the generation that it has.
    fn set(&mut self, path: &str, node: Node) {
        let key = match self.nodes.get_key_value(path) {
            Some((key, _)) => Rc::clone(key),
            None => path.into(),
        };
        self.account(&key, &node);
        let old = self.nodes.insert(Rc::clone(&key), node.clone());
        let told = old.as_ref().is_some_and(|old| {
            old.born == node.born
                && Rc::ptr_eq(&old.value, &node.value)
                && Rc::ptr_eq(&old.permissions, &node.permissions)
        });
        if let Some(old) = old {
            self.unaccount(&key, &old, Some(&node));
        }
        if !told {
            self.changes.push(Change {
                path: key,
                node: Some(node),
            });
        }
    }

    /// Takes the node at `path` away. The caller sees to the parent's children.
    pub fn remove(&mut self, path: &str) {
        if let Some((key, old)) = self.nodes.remove_entry(path) {
            self.unaccount(&key, &old, None);
            self.changes.push(Change {
                path: key,
                node: None,
            });
        }
    }

    fn account(&mut self, path: &Rc<str>, node: &Node) {
        let account = self.accounts.entry(owner(&node.permissions)).or_default();
        account.nodes += 1;
        account.bytes += path.len() + node.size();
        for domain in mentioned(&node.permissions) {
            self.mentions
                .entry(domain)
                .or_default()
                .insert(Rc::clone(path));
        }
    }

    fn unaccount(&mut self, path: &Rc<str>, old: &Node, new: Option<&Node>) {
        let domain = owner(&old.permissions);
        if let Some(account) = self.accounts.get_mut(&domain) {
            account.nodes -= 1;
            account.bytes -= path.len() + old.size();
            if account.nodes == 0 {
                self.accounts.remove(&domain);
            }
        }
        for domain in mentioned(&old.permissions) {
            if new.is_some_and(|new| mentioned(&new.permissions).any(|still| still == domain)) {
                continue;
            }
            if let Some(paths) = self.mentions.get_mut(&domain) {
                paths.remove(path);
                if paths.is_empty() {
                    self.mentions.remove(&domain);
                }
            }
        }
    }

    /// What `domain` owns.
    #[must_use]
    pub fn owned(&self, domain: DomId) -> Account {
        self.accounts.get(&domain).copied().unwrap_or_default()
    }

    /// The domains that own nodes or are named by permissions.
    pub fn mentioned_domains(&self) -> impl Iterator<Item = DomId> {
        self.mentions.keys().copied()
    }

    /// Paths of the nodes that `domain` owns, in order.
    #[must_use]
    pub fn owned_paths(&self, domain: DomId) -> Vec<Rc<str>> {
        let mut paths: Vec<_> = self
            .mentions
            .get(&domain)
            .into_iter()
            .flatten()
            .filter(|path| owner(&self.nodes[&**path].permissions) == domain)
            .cloned()
            .collect();
        paths.sort_unstable();
        paths
    }

    /// Makes every permission stale that was given to `domain`, so that a later domain with its number does not inherit it. Nodes
    /// that `domain` still owns go to the control domain.
    pub fn forget(&mut self, domain: DomId) {
        for path in self.mentions.get(&domain).cloned().unwrap_or_default() {
            let mut node = self.nodes[&*path].clone();
            let mut entries = node.permissions.to_vec();
            if entries[0].permission.domain == domain {
                entries[0].permission.domain = DomId(0);
            }
            for entry in &mut entries[1..] {
                entry.stale |= entry.permission.domain == domain;
            }
            node.permissions = entries.into();
            self.put(&path, node);
        }
    }

    /// The changes since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Every node, parents before children.
    #[must_use]
    pub fn all(&self) -> Vec<(&str, &Node)> {
        let mut all: Vec<_> = self
            .nodes
            .iter()
            .map(|(path, node)| (&**path, node))
            .collect();
        all.sort_unstable_by_key(|(path, _)| *path);
        all
    }

    /// Applies a change from the journal: as [`Self::put`] and [`Self::remove`], and enters the node with its parent.
    ///
    /// A change that does not fit (a node without a parent) is left out.
    pub fn replay(&mut self, path: &str, node: Option<Node>) {
        let parent = path::parent(path);
        let known = self.nodes.get(path).map(|old| old.born);
        if path != "/" {
            let Some(mut above) = self.nodes.get(parent).cloned() else {
                return;
            };
            if let Some(born) = known {
                above.children.remove(born);
            }
            if let Some(node) = &node {
                above.children.insert(node.born, path::leaf(path));
            }
            self.set(parent, above);
        }
        match node {
            Some(mut node) => {
                if let Some(old) = self.nodes.get(path) {
                    node.children = old.children.clone();
                }
                self.advance(node.born);
                self.put(path, node);
            }
            None => self.remove(path),
        }
    }

    /// What is wrong with the tree, for `CONTROL check` and tests: nodes without parents, children without nodes, wrong counts.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut accounts: HashMap<DomId, Account> = HashMap::new();
        for (path, node) in &self.nodes {
            for name in node.children.names() {
                if !self.nodes.contains_key(&*path::child(path, name)) {
                    wrong.push(format!("{path} has a child {name} that does not exist"));
                }
            }
            let listed = &**path == "/"
                || self.nodes.get(path::parent(path)).is_some_and(|parent| {
                    parent.children.name(node.born) == Some(path::leaf(path))
                });
            if !listed {
                wrong.push(format!("{path} is not a child of its parent"));
            }
            let account = accounts.entry(owner(&node.permissions)).or_default();
            account.nodes += 1;
            account.bytes += path.len() + node.size();
        }
        for domain in accounts.keys().chain(self.accounts.keys()) {
            let counted = accounts.get(domain).copied().unwrap_or_default();
            if counted != self.owned(*domain) {
                wrong.push(format!(
                    "domain {} owns {counted:?}, not {:?}",
                    domain.0,
                    self.owned(*domain)
                ));
            }
        }
        wrong
    }
}

/// The domains that permissions give something to, the owner included.
fn mentioned(permissions: &[Entry]) -> impl Iterator<Item = DomId> {
    permissions
        .iter()
        .filter(|entry| !entry.stale)
        .map(|entry| entry.permission.domain)
}
