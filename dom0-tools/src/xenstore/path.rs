//! Paths of the store: which are valid, what a relative one means, who is whose child.
//!
//! Contract: xenstore.txt, "Paths are /-separated"; what Xen 4.17's xenstored accepts where the text is silent.

use hypercall_abi::io::xs_wire::{ABS_PATH_MAX, REL_PATH_MAX};
use hypercall_abi::{DomId, Errno};

/// Where a connection without a domain of its own (a socket) starts relative paths: the control domain.
const SOCKET_BASE: DomId = DomId(0);

/// The home of a domain, `/local/domain/N`: the base of its relative paths.
#[must_use]
pub fn home(domain: DomId) -> String {
    format!("/local/domain/{}", domain.0)
}

/// The base of the relative paths of a connection that belongs to `domain`, or to nobody in particular.
#[must_use]
pub fn base(domain: Option<DomId>) -> String {
    home(domain.unwrap_or(SOCKET_BASE))
}

/// Whether `path` is an absolute path that a node can have: of valid characters, without empty parts, not too long.
///
/// `max` is the greatest length in bytes; a leading `/local/domain/N/` does not count, so that a domain can use all of the length
/// of relative paths whatever its number is.
#[must_use]
pub fn is_valid(path: &str, max: usize) -> bool {
    path.starts_with('/')
        && (path == "/" || !path.ends_with('/'))
        && !path.contains("//")
        && path.len() <= ABS_PATH_MAX
        && path.len() - home_prefix(path) <= max
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte))
}

/// Bytes of a leading `/local/domain/N/`, else 0.
fn home_prefix(path: &str) -> usize {
    const HOMES: &str = "/local/domain/";
    let Some(rest) = path.strip_prefix(HOMES) else {
        return 0;
    };
    let digits = rest.bytes().take(5).take_while(u8::is_ascii_digit).count();
    if digits > 0 && rest.as_bytes().get(digits) == Some(&b'/') {
        HOMES.len() + digits + 1
    } else {
        0
    }
}

/// The absolute path that `given` means on a connection of `domain`.
///
/// # Errors
/// `EINVAL` if that is no valid path.
pub fn canonical(given: &str, domain: Option<DomId>, max: usize) -> Result<String, Errno> {
    let absolute = if given.starts_with('/') {
        given.to_owned()
    } else if given.starts_with('@') {
        return Err(Errno::EINVAL);
    } else {
        format!("{}/{given}", base(domain))
    };
    is_valid(&absolute, max)
        .then_some(absolute)
        .ok_or(Errno::EINVAL)
}

/// Greatest length of the part of a path that counts, in bytes, unless an option sets another.
pub const DEFAULT_MAX: usize = REL_PATH_MAX;

/// The path of the node above; `/` is its own.
#[must_use]
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(slash) => &path[..slash],
    }
}

/// The last part of a path; empty for `/`.
#[must_use]
pub fn leaf(path: &str) -> &str {
    &path[path.rfind('/').map_or(0, |slash| slash + 1)..]
}

/// The path of the child `leaf` of `path`.
#[must_use]
pub fn child(path: &str, leaf: &str) -> String {
    if path == "/" {
        format!("/{leaf}")
    } else {
        format!("{path}/{leaf}")
    }
}

/// The path itself and every path above it, ending with `/`.
///
/// Watches on all of these see a change of `path`. Special events (`@introduceDomain`) have nothing above them.
pub fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(path);
    std::iter::from_fn(move || {
        let current = next?;
        next = (current != "/" && current.starts_with('/')).then(|| parent(current));
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_home() {
        let guest = Some(DomId(7));
        assert_eq!(
            canonical("a/b", guest, DEFAULT_MAX).unwrap(),
            "/local/domain/7/a/b"
        );
        assert_eq!(
            canonical("a", None, DEFAULT_MAX).unwrap(),
            "/local/domain/0/a"
        );
        assert_eq!(canonical("/a", guest, DEFAULT_MAX).unwrap(), "/a");
    }

    #[test]
    fn bad_paths_are_refused() {
        for bad in [
            "",
            "/a/",
            "//",
            "/a//b",
            "/a b",
            "/a.b",
            "@releaseDomain",
            "a/",
            "/ä",
        ] {
            assert_eq!(
                canonical(bad, None, DEFAULT_MAX),
                Err(Errno::EINVAL),
                "{bad:?}"
            );
        }
        assert!(is_valid("/", DEFAULT_MAX));
    }

    #[test]
    fn the_home_does_not_count_for_the_length() {
        let name = "x".repeat(REL_PATH_MAX);
        assert!(canonical(&name, Some(DomId(12345)), DEFAULT_MAX).is_ok());
        assert!(canonical(&format!("{name}x"), Some(DomId(1)), DEFAULT_MAX).is_err());
        assert!(canonical(&format!("/{name}"), None, DEFAULT_MAX).is_err());
        assert!(
            canonical(
                &format!("/{}", "x".repeat(REL_PATH_MAX - 1)),
                None,
                DEFAULT_MAX
            )
            .is_ok()
        );
    }

    #[test]
    fn ancestors_end_at_the_root() {
        assert_eq!(
            with_ancestors("/a/b").collect::<Vec<_>>(),
            ["/a/b", "/a", "/"]
        );
        assert_eq!(with_ancestors("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(with_ancestors("@x").collect::<Vec<_>>(), ["@x"]);
    }
}
