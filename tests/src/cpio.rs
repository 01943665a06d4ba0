//! Archives in cpio's "newc" format, as the Linux kernel unpacks them (its `buffer-format` document).

use std::collections::BTreeSet;

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive under construction. Parent folders are added as they are needed.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    next_inode: u32,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a regular file. `mode` are the permission bits.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.parents(path);
        self.entry(path, REGULAR | mode, contents, (0, 0));
    }

    /// Add a folder and its parents.
    pub fn folder(&mut self, path: &str) {
        self.parents(path);
        if self.folders.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, &[], (0, 0));
        }
    }

    /// Add a symbolic link at `path` to `to`.
    pub fn link(&mut self, path: &str, to: &str) {
        self.parents(path);
        self.entry(path, SYMLINK | 0o777, to.as_bytes(), (0, 0));
    }

    /// Add a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE | mode, &[], (major, minor));
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for at in slashes {
            let parent = &path[..at];
            if !parent.is_empty() && self.folders.insert(parent.to_owned()) {
                self.entry(parent, DIRECTORY | 0o755, &[], (0, 0));
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8], device: (u32, u32)) {
        self.next_inode += 1;
        let size = u32::try_from(contents.len()).expect("newc holds files below 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("a path is short");
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [
            self.next_inode,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let field = |bytes: &[u8], index: usize| {
            let text = std::str::from_utf8(&bytes[6 + 8 * index..14 + 8 * index]).unwrap();
            u32::from_str_radix(text, 16).unwrap()
        };
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(bytes, 1), field(bytes, 6), field(bytes, 11));
            let name_end = 110 + name_size as usize;
            let name = String::from_utf8(bytes[110..name_end - 1].to_vec()).unwrap();
            let data = name_end.next_multiple_of(4);
            let data_end = data + size as usize;
            if name == "TRAILER!!!" {
                return found;
            }
            found.push((name, mode, bytes[data..data_end].to_vec()));
            bytes = &bytes[data_end.next_multiple_of(4)..];
        }
    }

    #[test]
    fn parents_come_first_and_once() {
        let mut archive = Archive::new();
        archive.file("a/b/c", 0o644, b"12345");
        archive.link("a/d", "b/c");
        archive.folder("a/b");
        let listed = names(&archive.finish());
        let paths: Vec<&str> = listed.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/d"]);
        assert_eq!(listed[2].1, 0o100_644);
        assert_eq!(listed[2].2, b"12345");
        assert_eq!(listed[3].2, b"b/c");
    }
}
