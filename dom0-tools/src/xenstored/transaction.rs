//! A private view of the tree, and when it may become everybody's.
//!
//! As in 4.17, a transaction does not copy the tree when it starts: it sees a node as it is when it first touches it, and from then
//! on only its own changes of it. It can be committed if none of the nodes it touched has changed since; a node that it found missing
//! must still be missing.

use std::collections::HashMap;
use std::rc::Rc;

use hypercall_abi::{DomId, Errno};
use indexmap::IndexMap;

use super::database::Database;
use super::node::{Node, Permissions, owner};
use super::watch::Event;

/// A node that a transaction has touched.
#[derive(Debug)]
struct Accessed {
    /// Generation in the tree at the first touch; `None` if it was missing.
    seen: Option<u64>,
    /// As the transaction sees it.
    node: Option<Node>,
    modified: bool,
    event: Option<Event>,
}

/// A transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    accessed: IndexMap<Rc<str>, Accessed>,
    owned: HashMap<DomId, isize>,
    bytes: usize,
    failed: bool,
    outdated: bool,
}

impl Transaction {
    /// One that can only end with `EAGAIN`: its state was lost with a daemon that died.
    #[must_use]
    pub fn lost() -> Self {
        Self {
            outdated: true,
            ..Self::default()
        }
    }

    /// Number of nodes touched.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.accessed.len()
    }

    /// Bytes of what it keeps.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// By how much the number of nodes of `domain` would change.
    #[must_use]
    pub fn owned(&self, domain: DomId) -> isize {
        self.owned.get(&domain).copied().unwrap_or_default()
    }

    /// Something went wrong half-way: it must not be committed.
    pub const fn fail(&mut self) {
        self.failed = true;
    }

    /// `domain` is gone: nothing may be committed that still gives it something.
    pub fn domain_gone(&mut self, domain: DomId) {
        self.outdated |= self.accessed.values().any(|accessed| {
            accessed.modified
                && accessed.node.as_ref().is_some_and(|node| {
                    node.permissions
                        .iter()
                        .any(|entry| entry.permission.domain == domain)
                })
        });
    }

    /// Notes what is to be told when it is committed. The permissions are those before the first change.
    fn note(&mut self, event: Event) {
        if let Some(accessed) = self.accessed.get_mut(&event.path) {
            accessed.event = Some(match accessed.event.take() {
                Some(first) => Event {
                    exact: event.exact,
                    ..first
                },
                None => event,
            });
        }
    }

    fn write(&mut self, path: &str, node: Option<Node>) {
        let Some(accessed) = self.accessed.get_mut(path) else {
            return;
        };
        self.bytes += node.as_ref().map_or(0, Node::size);
        if let Some(old) = &accessed.node {
            *self.owned.entry(owner(&old.permissions)).or_default() -= 1;
        }
        if let Some(new) = &node {
            *self.owned.entry(owner(&new.permissions)).or_default() += 1;
        }
        accessed.node = node;
        accessed.modified = true;
    }

    /// Makes its changes everybody's.
    ///
    /// `quota` is the greatest number of nodes that `domain`, the committing unprivileged domain, may own afterwards.
    ///
    /// # Errors
    /// `ENOMEM` if an operation of it failed half-way, `ENOSPC` if it would break the quota, `EAGAIN` on a conflict.
    pub fn commit(
        self,
        database: &mut Database,
        quota: Option<(DomId, usize)>,
    ) -> Result<Vec<Event>, Errno> {
        if self.failed {
            return Err(Errno::ENOMEM);
        }
        if let Some((domain, most)) = quota {
            let change = self.owned(domain);
            if change > 0 && database.owned(domain).nodes.saturating_add_signed(change) > most {
                return Err(Errno::ENOSPC);
            }
        }
        let unchanged = |(path, accessed): (&Rc<str>, &Accessed)| {
            database.get(path).map(|node| node.generation) == accessed.seen
        };
        if self.outdated || !self.accessed.iter().all(unchanged) {
            return Err(Errno::EAGAIN);
        }
        let mut events = Vec::new();
        let mut gone = Vec::new();
        let mut there = Vec::new();
        for (path, accessed) in self.accessed {
            if !accessed.modified || (accessed.seen.is_none() && accessed.node.is_none()) {
                continue;
            }
            events.extend(accessed.event.map(|event| {
                Event {
                    after: accessed
                        .node
                        .as_ref()
                        .map(|node| Rc::clone(&node.permissions)),
                    ..event
                }
            }));
            match accessed.node {
                Some(node) => there.push((path, node)),
                None => gone.push(path),
            }
        }
        // The journal is replayed in this order: a parent before its children, and a child's end before its parent's.
        gone.sort_unstable_by(|a, b| b.cmp(a));
        there.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for path in gone {
            database.remove(&path);
        }
        for (path, node) in there {
            database.put(&path, node);
        }
        Ok(events)
    }
}

/// The tree as one request sees it: directly, or through a transaction.
#[derive(Debug)]
pub struct View<'a> {
    /// What everybody sees.
    pub database: &'a mut Database,
    /// Through which to see it.
    pub transaction: Option<&'a mut Transaction>,
    /// How many nodes the transaction may touch.
    pub most: usize,
    /// What is to be told at once.
    pub events: Vec<Event>,
}

impl View<'_> {
    /// The node at `path`.
    ///
    /// # Errors
    /// `ENOSPC` if the transaction touches too many nodes; it cannot be committed any more then.
    pub fn read(&mut self, path: &str) -> Result<Option<Node>, Errno> {
        let Some(transaction) = &mut self.transaction else {
            return Ok(self.database.get(path).cloned());
        };
        if let Some(accessed) = transaction.accessed.get(path) {
            return Ok(accessed.node.clone());
        }
        if transaction.touched() >= self.most {
            transaction.fail();
            return Err(Errno::ENOSPC);
        }
        let node = self.database.get(path).cloned();
        let accessed = Accessed {
            seen: node.as_ref().map(|node| node.generation),
            node: node.clone(),
            modified: false,
            event: None,
        };
        transaction.bytes += path.len();
        transaction.accessed.insert(path.into(), accessed);
        Ok(node)
    }

    /// Puts a node that was read (or found missing) before.
    pub fn write(&mut self, path: &str, mut node: Node) {
        match &mut self.transaction {
            Some(transaction) => {
                node.generation = self.database.tick();
                transaction.write(path, Some(node));
            }
            None => self.database.put(path, node),
        }
    }

    /// Takes a node away that was read before.
    pub fn remove(&mut self, path: &str) {
        match &mut self.transaction {
            Some(transaction) => transaction.write(path, None),
            None => self.database.remove(path),
        }
    }

    /// Notes a change for the watchers: told at once, or when the transaction is committed.
    pub fn tell(&mut self, event: Event) {
        match &mut self.transaction {
            Some(transaction) => transaction.note(event),
            None => self.events.push(event),
        }
    }

    /// The permissions of the parent of `path`. This does not count as having touched the parent.
    #[must_use]
    pub fn parent_permissions(&self, path: &str) -> Option<Permissions> {
        let parent = crate::xenstore::path::parent(path);
        let accessed = self
            .transaction
            .as_ref()
            .and_then(|transaction| transaction.accessed.get(parent));
        let node = match accessed {
            Some(accessed) => accessed.node.as_ref(),
            None => self.database.get(parent),
        };
        node.map(|node| Rc::clone(&node.permissions))
    }
}
