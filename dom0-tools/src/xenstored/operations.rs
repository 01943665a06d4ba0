//! Operations on nodes, as one asker may do them through one view.

use std::rc::Rc;

use hypercall_abi::io::xs_wire::PAYLOAD_MAX;
use hypercall_abi::{DomId, Errno};

use super::node::{Entry, Node, Permissions, access_of, owner};
use super::transaction::View;
use super::watch::Event;
use crate::xenstore::path;
use crate::xenstore::permission::Access;
use crate::xenstore::wire::{only_string, strings, text};

/// Who asks, and the limits that hold for them.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The domain of the connection; `None` for a socket.
    pub domain: Option<DomId>,
    /// The same, if it has to keep to permissions and limits.
    pub unprivileged: Option<DomId>,
    /// The domain that it acts for.
    pub target: Option<DomId>,
    /// Limits for the unprivileged.
    pub limits: Limits,
}

/// See [`super::quota`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes owned.
    pub nodes: usize,
    /// Bytes of a node: this many are too many.
    pub node_size: usize,
    /// Bytes of a path; for everybody.
    pub path: usize,
    /// Entries of permissions.
    pub permissions: usize,
    /// Bytes that may still be kept.
    pub memory: usize,
}

impl Asker {
    /// What the asker may do by these permissions.
    #[must_use]
    pub fn access(&self, permissions: &[Entry]) -> Access {
        match self.unprivileged {
            None => Access::all(),
            Some(domain) => access_of(permissions, domain, self.target),
        }
    }

    fn path(&self, given: &[u8]) -> Result<String, Errno> {
        path::canonical(text(given)?, self.domain, self.limits.path)
    }

    /// Whether a node may be kept as it is now.
    fn check_size(&self, path: &str, node: &Node) -> Result<(), Errno> {
        if self.unprivileged.is_some() {
            if node.size() >= self.limits.node_size {
                return Err(Errno::ENOSPC);
            }
            if path.len() + node.size() > self.limits.memory {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(())
    }
}

/// The node at `path`, if the asker may do this with it.
///
/// Who may not see what is above a path does not learn whether it exists either: `EACCES` then, whatever is wrong.
fn find(view: &mut View<'_>, asker: &Asker, path: &str, wanted: Access) -> Result<Node, Errno> {
    let problem = match view.read(path)? {
        Some(node) if asker.access(&node.permissions).contains(wanted) => return Ok(node),
        Some(_) => Errno::EACCES,
        None => Errno::ENOENT,
    };
    let mut above = path;
    while above != "/" {
        above = path::parent(above);
        if let Some(node) = view.read(above)? {
            return Err(if asker.access(&node.permissions).intersects(wanted) {
                problem
            } else {
                Errno::EACCES
            });
        }
    }
    Err(problem)
}

/// READ.
///
/// # Errors
/// As xenstore.txt tells.
pub fn read(view: &mut View<'_>, asker: &Asker, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = asker.path(only_string(payload)?)?;
    Ok(find(view, asker, &path, Access::READ)?.value.to_vec())
}

/// DIRECTORY.
///
/// # Errors
/// As xenstore.txt tells.
pub fn directory(view: &mut View<'_>, asker: &Asker, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = asker.path(only_string(payload)?)?;
    Ok(find(view, asker, &path, Access::READ)?.children.listing())
}

/// DIRECTORY_PART: generation, then as many whole names from the offset on as fit; an empty name marks the end.
///
/// # Errors
/// As xenstore.txt tells.
pub fn directory_part(
    view: &mut View<'_>,
    asker: &Asker,
    payload: &[u8],
) -> Result<Vec<u8>, Errno> {
    let mut arguments = strings(payload);
    let (Some(path), Some(offset), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(Errno::EINVAL);
    };
    let path = asker.path(path)?;
    let node = find(view, asker, &path, Access::READ)?;
    let mut answer = format!("{}\0", node.generation).into_bytes();
    let listing = node.children.listing();
    let offset = usize::try_from(crate::xenstore::wire::number(offset)).unwrap_or(usize::MAX);
    let rest = listing.get(offset..).unwrap_or_default();
    let mut complete = true;
    for name in rest.split_inclusive(|byte| *byte == 0) {
        if answer.len() + name.len() >= PAYLOAD_MAX {
            complete = false;
            break;
        }
        answer.extend_from_slice(name);
    }
    if complete {
        answer.push(0);
    }
    Ok(answer)
}

/// GET_PERMS.
///
/// # Errors
/// As xenstore.txt tells.
pub fn get_permissions(
    view: &mut View<'_>,
    asker: &Asker,
    payload: &[u8],
) -> Result<Vec<u8>, Errno> {
    let path = asker.path(only_string(payload)?)?;
    let node = find(view, asker, &path, Access::READ)?;
    Ok(spelled(&node.permissions))
}

/// Permissions as the protocol spells them.
#[must_use]
pub fn spelled(permissions: &[Entry]) -> Vec<u8> {
    let mut answer = Vec::new();
    for entry in permissions {
        answer.extend_from_slice(format!("{}\0", entry.permission).as_bytes());
    }
    answer
}

/// WRITE.
///
/// # Errors
/// As xenstore.txt tells, and the limits'.
pub fn write(view: &mut View<'_>, asker: &Asker, payload: &[u8]) -> Result<(), Errno> {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(Errno::EINVAL)?;
    let path = asker.path(&payload[..end])?;
    let value = &payload[end + 1..];
    match find(view, asker, &path, Access::WRITE) {
        Ok(mut node) => {
            node.value = value.into();
            asker.check_size(&path, &node)?;
            let permissions = Rc::clone(&node.permissions);
            view.write(&path, node);
            tell(view, &path, Some(permissions), None);
            Ok(())
        }
        Err(Errno::ENOENT) => create(view, asker, &path, value),
        Err(error) => Err(error),
    }
}

/// MKDIR.
///
/// # Errors
/// As xenstore.txt tells, and the limits'.
pub fn make(view: &mut View<'_>, asker: &Asker, payload: &[u8]) -> Result<(), Errno> {
    let path = asker.path(only_string(payload)?)?;
    match find(view, asker, &path, Access::WRITE) {
        Ok(_) => Ok(()),
        Err(Errno::ENOENT) => create(view, asker, &path, b""),
        Err(error) => Err(error),
    }
}

/// Makes a node and whatever is missing above it. Permissions are inherited; an unprivileged domain owns what it makes.
fn create(view: &mut View<'_>, asker: &Asker, path: &str, value: &[u8]) -> Result<(), Errno> {
    let mut missing = vec![path];
    let mut above = path::parent(path);
    let mut parent = loop {
        match view.read(above)? {
            Some(node) => break node,
            None if above == "/" => return Err(Errno::EIO),
            None => missing.push(above),
        }
        above = path::parent(above);
    };
    let mut permissions = Rc::clone(&parent.permissions);
    if let Some(domain) = asker.unprivileged {
        let mut entries = permissions.to_vec();
        entries[0].permission.domain = domain;
        permissions = entries.into();
        if owned(view, domain) + missing.len() > asker.limits.nodes {
            return Err(Errno::ENOSPC);
        }
    }
    // Everything is made and checked before anything is written: a refused request leaves nothing behind.
    let mut writes = Vec::with_capacity(missing.len() + 1);
    while let Some(next) = missing.pop() {
        let content = if missing.is_empty() { value } else { b"" };
        let node = Node::new(view.database.tick(), content, Rc::clone(&permissions));
        parent.children.insert(node.born, path::leaf(next));
        writes.push((above, std::mem::replace(&mut parent, node)));
        above = next;
    }
    writes.push((above, parent));
    let mut bytes = 0;
    for (path, node) in &writes {
        asker.check_size(path, node)?;
        bytes += path.len() + node.size();
    }
    if asker.unprivileged.is_some() && bytes > asker.limits.memory {
        return Err(Errno::ENOMEM);
    }
    for (path, node) in writes {
        view.write(path, node);
    }
    tell(view, path, Some(permissions), None);
    Ok(())
}

/// Nodes of `domain` as the view would leave them.
fn owned(view: &View<'_>, domain: DomId) -> usize {
    let change = view
        .transaction
        .as_ref()
        .map_or(0, |transaction| transaction.owned(domain));
    view.database
        .owned(domain)
        .nodes
        .saturating_add_signed(change)
}

/// RM.
///
/// # Errors
/// As xenstore.txt tells.
pub fn remove(view: &mut View<'_>, asker: &Asker, payload: &[u8]) -> Result<(), Errno> {
    let path = asker.path(only_string(payload)?)?;
    match find(view, asker, &path, Access::WRITE) {
        Ok(_) if path == "/" => Err(Errno::EINVAL),
        Ok(_) => remove_tree(view, &path),
        // What does not exist is removed already, provided that it could exist.
        Err(Errno::ENOENT) if view.read(path::parent(&path))?.is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a node and all below it, the deepest first.
///
/// # Errors
/// `ENOSPC` if the transaction would touch too many nodes; it cannot be committed any more then. `ENOENT` and `EIO` if what the
/// transaction saw at different times does not fit together; it will not be committed either.
pub fn remove_tree(view: &mut View<'_>, path: &str) -> Result<(), Errno> {
    let top_parent = path::parent(path);
    let (Some(top), Some(mut parent)) = (view.read(path)?, view.read(top_parent)?) else {
        return Err(Errno::EINVAL);
    };
    let born = parent
        .children
        .born(path::leaf(path), top.born)
        .ok_or(Errno::EIO)?;
    parent.children.remove(born);
    let mut order = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(next) = pending.pop() {
        let node = view.read(&next)?.ok_or(Errno::ENOENT)?;
        pending.extend(node.children.names().map(|name| path::child(&next, name)));
        order.push((next, node));
    }
    // Parents stand before their children, later children before earlier ones: backwards, it is the order of removal.
    for (gone, node) in order.into_iter().rev() {
        let top = gone == path;
        let event = Event {
            path: gone.as_str().into(),
            exact: !top,
            before: Some(Rc::clone(&node.permissions)),
            after: None,
            parent: view.parent_permissions(&gone),
        };
        view.tell(event);
        view.remove(&gone);
    }
    view.write(top_parent, parent);
    Ok(())
}

/// SET_PERMS, with the entries already read.
///
/// # Errors
/// As xenstore.txt tells, and the limits'.
pub fn set_permissions(
    view: &mut View<'_>,
    asker: &Asker,
    path: &[u8],
    permissions: Permissions,
) -> Result<(), Errno> {
    let path = asker.path(path)?;
    let mut node = find(view, asker, &path, Access::WRITE | Access::OWN)?;
    if asker.unprivileged.is_some() && owner(&permissions) != owner(&node.permissions) {
        return Err(Errno::EPERM);
    }
    let before = std::mem::replace(&mut node.permissions, permissions);
    asker.check_size(&path, &node)?;
    let after = Rc::clone(&node.permissions);
    view.write(&path, node);
    tell(view, &path, Some(after), Some(before));
    Ok(())
}

fn tell(view: &mut View<'_>, path: &str, after: Option<Permissions>, before: Option<Permissions>) {
    let parent = view.parent_permissions(path);
    view.tell(Event {
        path: path.into(),
        exact: false,
        before,
        after,
        parent,
    });
}
