//! Finds the public headers and runs gcc on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Headers that say nothing about x86_64's hypercall interface. Everything else in the directory is compiled.
const SKIPPED: &[(&str, &str)] = &[
    ("arch-arm", "another architecture"),
    ("foreign/", "other architectures' structs under other names"),
    ("arch-x86/xen-x86_32.h", "32-bit guests"),
    ("arch-x86_32.h", "32-bit guests"),
    ("device_tree_defs.h", "another architecture"),
    (
        "dom0_ops.h",
        "refuses to compile with the current interface version",
    ),
    ("evtchn.h", "Linux's device files"),
    ("gntalloc.h", "Linux's device files"),
    ("gntdev.h", "Linux's device files"),
    ("privcmd.h", "Linux's device files"),
    ("sys/", "Linux's device files"),
];

/// Which side of the interface a header is compiled for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As a toolstack sees it: everything a guest may use.
    Tools,
    /// As the hypervisor sees it, with a few constants more.
    Hypervisor,
}

/// gcc, a directory of headers, and room for temporary files.
pub struct Compiler {
    directory: PathBuf,
    scratch: tempfile::TempDir,
}

impl Compiler {
    /// Checks that the headers and gcc are there.
    pub fn new(directory: &Path) -> Result<Self> {
        if !directory.join("xen.h").is_file() {
            bail!(
                "{} has no xen.h: install libxen-dev or give --headers",
                directory.display()
            );
        }
        if Command::new("gcc").arg("--version").output().is_err() {
            bail!("gcc is not installed");
        }
        let directory = directory.canonicalize()?;
        let scratch = tempfile::tempdir()?;
        // hvm/save.h includes this header of the hypervisor's own, for one macro.
        fs::create_dir(scratch.path().join("xen"))?;
        fs::write(
            scratch.path().join("xen/lib.h"),
            "#define BUG() ((void)0)\n",
        )?;
        Ok(Self { directory, scratch })
    }

    /// The headers to compile, relative to the directory, sorted.
    pub fn headers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.collect(&self.directory, &mut found)?;
        found.retain(|header| !SKIPPED.iter().any(|(start, _)| header.starts_with(start)));
        found.sort();
        Ok(found)
    }

    fn collect(&self, directory: &Path, found: &mut Vec<String>) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.collect(&path, found)?;
            } else if path.extension().is_some_and(|extension| extension == "h") {
                let relative = path.strip_prefix(&self.directory)?;
                found.push(
                    relative
                        .to_str()
                        .context("a header's name is not UTF-8")?
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Full path of a header, as it stands in DWARF and line markers.
    pub fn path_of(&self, header: &str) -> PathBuf {
        self.directory.join(header)
    }

    /// Path of a temporary file.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A source file that includes `header` behind what it takes for granted, followed by `body`.
    pub fn source(&self, header: &str, body: &str) -> String {
        let include = |name: &str| format!("#include \"{}\"\n", self.path_of(name).display());
        format!(
            "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n{}{}{}{body}",
            include("xen.h"),
            include("hvm/save.h"),
            include(header)
        )
    }

    /// Runs gcc on a source text for one side of the interface.
    pub fn gcc(&self, side: Side, source: &str, arguments: &[&str]) -> Result<Output> {
        let file = self.scratch("source.c");
        fs::write(&file, source)?;
        let mut command = Command::new("gcc");
        command
            .args(["-std=gnu11", "-m64", "-w", "-D__XEN_TOOLS__"])
            .arg("-I")
            .arg(self.scratch.path());
        if side == Side::Hypervisor {
            command.arg("-D__XEN__");
        }
        command
            .args(arguments)
            .arg(&file)
            .output()
            .context("cannot run gcc")
    }

    /// As [`Compiler::gcc`], but a failure is an error.
    pub fn gcc_ok(&self, side: Side, source: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.gcc(side, source, arguments)?;
        if !output.status.success() {
            bail!("gcc failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output)
    }
}
