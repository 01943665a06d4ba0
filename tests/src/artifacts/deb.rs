//! Debian packages without root: `apt-get download`, then `dpkg-deb -x` under `target/deb/PACKAGE`.
//!
//! The system's package lists are used where they know the package. Otherwise (lists empty, or so old that
//! the file is gone) private lists are fetched under `target/deb/apt`, which needs no root either.

use super::target_dir;
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

/// Two scenarios that start together must not download the same package twice.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where packages are unpacked.
pub fn cache_dir() -> PathBuf {
    target_dir().join("deb")
}

/// The root of the unpacked package `name`, fetched first when it is not there yet.
///
/// A metapackage of the kernel stands for the image package that it depends on.
pub fn package(name: &str) -> Result<PathBuf> {
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let root = cache_dir().join(name);
    if root.is_dir() {
        return Ok(root);
    }
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        if !super::host::has(tool) {
            bail!(
                "{tool} is missing, so Debian's {name} cannot be downloaded; on another distribution \
                 give --linux and --initrd of your own"
            );
        }
    }
    let spinner = ProgressBar::new_spinner().with_message(format!("fetch Debian package {name}"));
    spinner.enable_steady_tick(Duration::from_millis(120));
    if spinner.is_hidden() {
        eprintln!("fetch Debian package {name}");
    }
    let fetched = fetch(name, &root);
    spinner.finish_and_clear();
    fetched.with_context(|| format!("Debian package {name} could not be fetched"))?;
    Ok(root)
}

fn fetch(name: &str, root: &Path) -> Result<()> {
    let cache = cache_dir();
    std::fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let private = Apt::private(&cache)?;
    let archive = download(&Apt::system(), name, &cache)
        .or_else(|_| download(&private, name, &cache))
        .or_else(|_| {
            private
                .update()
                .and_then(|()| download(&private, name, &cache))
        })?;
    let unpacked = tempfile::tempdir_in(&cache)?;
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&archive)
        .arg(unpacked.path()))?;
    std::fs::remove_file(&archive)?;
    std::fs::rename(unpacked.keep(), root)?;
    Ok(())
}

/// Download the archive of `name` and return its path.
fn download(apt: &Apt, name: &str, cache: &Path) -> Result<PathBuf> {
    let real = resolve(apt, name)?;
    let folder = tempfile::tempdir_in(cache)?;
    run(apt
        .command("apt-get")
        .arg("download")
        .arg(&real)
        .current_dir(folder.path()))?;
    let archive = super::only_entry(folder.path(), &real)?;
    let kept = cache.join(format!("{name}.deb"));
    std::fs::rename(archive, &kept)?;
    Ok(kept)
}

/// The package that holds the files: `name`, or the image package behind the kernel's metapackage.
fn resolve(apt: &Apt, name: &str) -> Result<String> {
    if !name.starts_with("linux-image-") {
        return Ok(name.to_owned());
    }
    let output = run(apt.command("apt-cache").args(["depends", name]))?;
    image_package(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("the package lists do not know {name}"))
}

/// The image package named in what `apt-cache depends` printed.
fn image_package(depends: &str) -> Option<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with("linux-image-"))
        .map(str::to_owned)
}

/// Which package lists to use.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn system() -> Self {
        Self {
            options: vec!["-oAPT::Sandbox::User=root".into()],
        }
    }

    /// Lists of our own, fetched by [`Self::update`] from the sources that the system names.
    fn private(cache: &Path) -> Result<Self> {
        let state = cache.join("apt/state");
        let packages = cache.join("apt/cache");
        std::fs::create_dir_all(state.join("lists/partial"))?;
        std::fs::create_dir_all(packages.join("archives/partial"))?;
        let mut apt = Self::system();
        apt.options.extend([
            format!("-oDir::State={}", state.display()),
            "-oDir::State::status=/var/lib/dpkg/status".into(),
            format!("-oDir::Cache={}", packages.display()),
        ]);
        Ok(apt)
    }

    fn update(&self) -> Result<()> {
        run(self.command("apt-get").args(["-q", "update"]))
            .context("the package lists could not be updated (is there a network?)")?;
        Ok(())
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }
}

/// Run to the end; an unsuccessful end is an error that quotes the last line of standard error.
fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{program}: {}",
            complaint
                .trim()
                .lines()
                .last()
                .unwrap_or("failed without a word")
        );
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metapackage_names_its_image() {
        let printed = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(
            image_package(printed).as_deref(),
            Some("linux-image-6.1.0-56-amd64")
        );
        assert_eq!(
            image_package("busybox-static\n  Conflicts: busybox\n"),
            None
        );
    }
}
