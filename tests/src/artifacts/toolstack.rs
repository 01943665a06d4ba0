//! Debian's toolstack for Xen 4.17: programs, and the shared libraries that they need.

use super::deb;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The packages: the programs' own, and those of their libraries.
const PACKAGES: [&str; 20] = [
    "xen-utils-4.17",
    "xen-utils-common",
    "xenstore-utils",
    "libxenmisc4.17",
    "libxenstore4",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libuuid1",
    "liblzma5",
    "libzstd1",
    "zlib1g",
    "libgcc-s1",
    "libc6",
];

/// Programs, where the packages have them.
const PROGRAMS: [&str; 10] = [
    "usr/lib/xen-4.17/bin/xl",
    "usr/lib/xen-4.17/bin/libxl-save-helper",
    "usr/lib/xen-4.17/bin/xenstored",
    "usr/lib/xen-4.17/bin/xenconsoled",
    "usr/lib/xen-4.17/bin/xenconsole",
    "usr/lib/xen-4.17/bin/xen-init-dom0",
    "usr/lib/xen-4.17/bin/xenctx",
    "usr/bin/xenstore-ls",
    "usr/bin/xenstore-read",
    "usr/bin/xenstore-write",
];

/// Where Debian has libraries.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A file of a root file system: where it goes, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Path in the root file system.
    pub path: String,
    /// The file.
    pub from: PathBuf,
}

/// The roots of all packages, downloaded if they are not there yet.
pub fn packages() -> Result<Vec<PathBuf>> {
    PACKAGES.iter().map(|name| deb::package(name)).collect()
}

/// The programs, what they need, and xl's configuration.
pub fn files() -> Result<Vec<Placed>> {
    let roots = packages()?;
    let mut files = Vec::new();
    for program in PROGRAMS {
        let from = find(&roots, program)
            .with_context(|| format!("no package has {program} (any more)"))?;
        let name = program.rsplit('/').next().unwrap_or(program);
        let path = if program.starts_with("usr/bin") || name == "xl" {
            format!("usr/sbin/{name}")
        } else {
            program.to_owned()
        };
        files.push(Placed { path, from });
    }
    for (path, package_path) in [
        ("lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ("etc/xen/xl.conf", "etc/xen/xl.conf"),
    ] {
        let from = find(&roots, package_path)
            .with_context(|| format!("no package has {package_path} (any more)"))?;
        files.push(Placed {
            path: path.to_owned(),
            from,
        });
    }
    files.extend(libraries(&roots)?);
    Ok(files)
}

/// Every shared library of the packages under the name by which programs ask for it.
fn libraries(roots: &[PathBuf]) -> Result<Vec<Placed>> {
    let mut files = Vec::new();
    for folder in roots
        .iter()
        .flat_map(|root| LIBRARIES.map(|folder| root.join(folder)))
        .filter(|folder| folder.is_dir())
    {
        for entry in std::fs::read_dir(&folder)? {
            let from = entry?.path();
            let name = from
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.contains(".so.") && from.is_file() {
                files.push(Placed {
                    path: format!("lib/x86_64-linux-gnu/{name}"),
                    from,
                });
            }
        }
    }
    if files.is_empty() {
        bail!("the packages hold no libraries");
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn find(roots: &[PathBuf], path: &str) -> Option<PathBuf> {
    roots
        .iter()
        .map(|root| root.join(Path::new(path)))
        .find(|path| path.is_file())
}
