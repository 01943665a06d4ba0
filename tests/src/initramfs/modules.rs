//! Which files a kernel module needs: each `.ko` names its dependencies in `.modinfo` (`depends=a,b`).

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of `names` and of all that they depend on, dependencies first.
pub fn with_dependencies(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut index = BTreeMap::new();
    scan(&folder.join("kernel"), &mut index)?;
    let mut order = Order {
        index: &index,
        builtin: builtin(folder),
        seen: BTreeSet::new(),
        files: Vec::new(),
    };
    for name in names {
        order.visit(name)?;
    }
    Ok(order.files)
}

struct Order<'a> {
    index: &'a BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    seen: BTreeSet<String>,
    files: Vec<PathBuf>,
}

impl Order<'_> {
    fn visit(&mut self, name: &str) -> Result<()> {
        let name = canonical(name);
        if !self.seen.insert(name.clone()) || self.builtin.contains(&name) {
            return Ok(());
        }
        let Some(path) = self.index.get(&name) else {
            bail!("the kernel has no module {name}");
        };
        let image = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        for dependency in dependencies(&image) {
            self.visit(&dependency)?;
        }
        self.files.push(path.clone());
        Ok(())
    }
}

/// Module names treat `-` and `_` as the same letter.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn builtin(folder: &Path) -> BTreeSet<String> {
    let listed = std::fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect()
}

fn module_name(path: &Path) -> Option<String> {
    Some(canonical(path.file_name()?.to_str()?.strip_suffix(".ko")?))
}

fn scan(folder: &Path, index: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            scan(&path, index)?;
        } else if let Some(name) = module_name(&path) {
            index.insert(name, path);
        }
    }
    Ok(())
}

/// The names after `depends=` in a module's image.
fn dependencies(image: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = image.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &image[at + KEY.len()..];
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    let value = String::from_utf8_lossy(&value[..end]);
    value
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(
            dependencies(b"x\0license=GPL\0depends=libata,scsi_mod\0y"),
            ["libata", "scsi_mod"]
        );
        assert!(dependencies(b"x\0depends=\0y").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }

    #[test]
    fn dependencies_come_before_what_needs_them() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel/drivers");
        std::fs::create_dir_all(&kernel).unwrap();
        std::fs::write(kernel.join("a-b.ko"), b"\0depends=c,d\0").unwrap();
        std::fs::write(kernel.join("c.ko"), b"\0depends=\0").unwrap();
        std::fs::write(folder.path().join("modules.builtin"), "kernel/lib/d.ko\n").unwrap();
        let files = with_dependencies(folder.path(), &["a_b"]).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|f| f.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["c.ko", "a-b.ko"]);
        assert!(with_dependencies(folder.path(), &["missing"]).is_err());
    }
}
