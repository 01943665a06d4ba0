//! Watches: who wants to know of changes below which path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use hypercall_abi::Errno;

use super::connection::ConnectionId;
use super::node::Permissions;
use crate::xenstore::path;

/// A change that watchers may be told of, with everything that decides who may know.
#[derive(Clone, Debug)]
pub struct Event {
    /// What changed.
    pub path: Rc<str>,
    /// Only for those who watch exactly this path: it went away with something above it.
    pub exact: bool,
    /// The node's permissions before.
    pub before: Option<Permissions>,
    /// The node's permissions after.
    pub after: Option<Permissions>,
    /// The parent's permissions.
    pub parent: Option<Permissions>,
}

/// One watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What is watched.
    pub path: Rc<str>,
    /// Sent with every event.
    pub token: Rc<[u8]>,
    /// Bytes of the path that its events leave out, because it was set with a relative path.
    pub base: usize,
}

impl Watch {
    /// The path of an event as this watcher wants it.
    #[must_use]
    pub fn shown<'a>(&self, path: &'a str) -> &'a str {
        let rest = path.get(self.base..).unwrap_or_default();
        if self.base > 0 {
            rest.strip_prefix('/').unwrap_or(rest)
        } else {
            rest
        }
    }
}

/// Names a watch; in order of connections, and of setting on one connection.
type Key = (ConnectionId, u64);

/// All watches.
#[derive(Debug, Default)]
pub struct Watches {
    all: BTreeMap<Key, Watch>,
    by_path: HashMap<Rc<str>, BTreeSet<Key>>,
    counter: u64,
}

impl Watches {
    /// Sets a watch.
    ///
    /// # Errors
    /// `EEXIST` if the connection has one with this path and token.
    pub fn add(&mut self, connection: ConnectionId, watch: Watch) -> Result<(), Errno> {
        if self.find(connection, &watch.path, &watch.token).is_some() {
            return Err(Errno::EEXIST);
        }
        self.counter += 1;
        let key = (connection, self.counter);
        self.by_path
            .entry(Rc::clone(&watch.path))
            .or_default()
            .insert(key);
        self.all.insert(key, watch);
        Ok(())
    }

    /// Whether the connection has a watch with this path and token.
    #[must_use]
    pub fn has(&self, connection: ConnectionId, watch: &Watch) -> bool {
        self.find(connection, &watch.path, &watch.token).is_some()
    }

    fn find(&self, connection: ConnectionId, path: &str, token: &[u8]) -> Option<Key> {
        self.by_path
            .get(path)?
            .range((connection, 0)..=(connection, u64::MAX))
            .find(|key| *self.all[key].token == *token)
            .copied()
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    pub fn remove(
        &mut self,
        connection: ConnectionId,
        path: &str,
        token: &[u8],
    ) -> Result<(), Errno> {
        let key = self.find(connection, path, token).ok_or(Errno::ENOENT)?;
        self.drop_one(key);
        Ok(())
    }

    fn drop_one(&mut self, key: Key) {
        let Some(watch) = self.all.remove(&key) else {
            return;
        };
        if let Some(keys) = self.by_path.get_mut(&watch.path) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_path.remove(&watch.path);
            }
        }
    }

    /// Ends all watches of a connection.
    pub fn remove_all(&mut self, connection: ConnectionId) {
        let keys: Vec<_> = self.keys(connection).collect();
        for key in keys {
            self.drop_one(key);
        }
    }

    fn keys(&self, connection: ConnectionId) -> impl Iterator<Item = Key> {
        self.all
            .range((connection, 0)..=(connection, u64::MAX))
            .map(|(key, _)| *key)
    }

    /// The watches of a connection, the oldest first.
    pub fn of(&self, connection: ConnectionId) -> impl Iterator<Item = &Watch> {
        self.all
            .range((connection, 0)..=(connection, u64::MAX))
            .map(|(_, watch)| watch)
    }

    /// The watches that a change of `path` concerns.
    #[must_use]
    pub fn matching(&self, path: &str, exact: bool) -> Vec<(ConnectionId, &Watch)> {
        let levels = if exact { 1 } else { usize::MAX };
        let mut keys: Vec<_> = path::with_ancestors(path)
            .take(levels)
            .filter_map(|level| self.by_path.get(level))
            .flatten()
            .copied()
            .collect();
        keys.sort_unstable();
        keys.into_iter()
            .map(|key| (key.0, &self.all[&key]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(path: &str, token: &str) -> Watch {
        Watch {
            path: path.into(),
            token: token.as_bytes().into(),
            base: 0,
        }
    }

    #[test]
    fn watchers_of_the_path_and_above_are_concerned_in_order() {
        let mut watches = Watches::default();
        let (first, second) = (ConnectionId(1), ConnectionId(2));
        watches.add(second, watch("/a", "1")).unwrap();
        watches.add(first, watch("/a/b", "2")).unwrap();
        watches.add(first, watch("/", "3")).unwrap();
        watches.add(first, watch("/ab", "4")).unwrap();
        assert_eq!(watches.add(first, watch("/", "3")), Err(Errno::EEXIST));
        let tokens = |exact| {
            watches
                .matching("/a/b", exact)
                .iter()
                .map(|(_, watch)| watch.token[0])
                .collect::<Vec<_>>()
        };
        assert_eq!(tokens(false), b"231");
        assert_eq!(tokens(true), b"2");
    }

    #[test]
    fn removed_watches_are_gone() {
        let mut watches = Watches::default();
        let me = ConnectionId(1);
        watches.add(me, watch("/a", "1")).unwrap();
        watches.add(me, watch("/a", "2")).unwrap();
        assert_eq!(watches.remove(me, "/a", b"3"), Err(Errno::ENOENT));
        watches.remove(me, "/a", b"1").unwrap();
        assert_eq!(watches.of(me).count(), 1);
        watches.remove_all(me);
        assert!(watches.matching("/a", false).is_empty() && watches.by_path.is_empty());
    }

    #[test]
    fn relative_watchers_see_relative_paths() {
        let mut set = watch("/local/domain/3/x", "t");
        set.base = "/local/domain/3".len();
        assert_eq!(set.shown("/local/domain/3/x/y"), "x/y");
        assert_eq!(set.shown("/local/domain/3"), "");
    }
}
