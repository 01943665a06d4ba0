//! A whole Debian 12 on one ext4 file system, made by mmdebstrap from Debian's packages.
//!
//! Root is not needed: mmdebstrap uses user namespaces where it may, and `fakeroot` keeps the owners of files on their
//! way into `mke2fs -d`. The image is cached under `target/` and made again when a package, a file or the recipe changes.

use super::{deb, host, target_dir};
use anyhow::{Context, Result, bail};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The packages, besides those that every Debian has. Debian's toolstack is there to be compared with.
const PACKAGES: [&str; 22] = [
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "kmod",
    "login",
    "passwd",
    "util-linux",
    "e2fsprogs",
    "procps",
    "less",
    "netbase",
    "iproute2",
    "iputils-ping",
    "ethtool",
    "curl",
    "openssh-server",
    "pciutils",
    "strace",
    "stress-ng",
    "xen-utils-4.17",
    "libxenmisc4.17",
];

/// What no test reads and what makes the image large.
const EXCLUDED: [&str; 4] = [
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
];

/// Folders of kernel modules for hardware that no emulated machine has.
const NO_SUCH_HARDWARE: [&str; 8] = [
    "drivers/gpu",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/wireless",
    "drivers/net/ethernet/mellanox",
    "drivers/staging",
    "sound",
];

/// The suite.
const SUITE: &str = "bookworm";

/// The file system's size; the file is sparse.
const SIZE: &str = "3G";

/// The last steps inside the tree.
const CUSTOMIZE: &str = include_str!("../../debian/customize");

/// Programs of the host that this needs, and the packages that hold them.
pub const TOOLS: [(&str, &str); 3] = [
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("fakeroot", "fakeroot"),
];

/// Time stamps of files are no later than this, so that equal packages give equal images.
const EPOCH: &str = "1750000000";

/// The image, made now if it is not there yet. Machines must not write to it.
pub fn image() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let linux = deb::package("linux-image-amd64")?;
    let version = super::only_entry(&linux.join("lib/modules"), "")?;
    let image = target_dir().join(format!("debian-{}.ext4", key(&version)));
    if image.is_file() {
        return Ok(image);
    }
    remove_old(&target_dir())?;
    eprintln!("make a Debian {SUITE} root file system (a minute or two, once)");
    make(&version, &image).context("Debian's root file system could not be made")?;
    Ok(image)
}

/// Names everything that the image depends on.
fn key(modules: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    (PACKAGES, EXCLUDED, NO_SUCH_HARDWARE, SUITE, SIZE, CUSTOMIZE).hash(&mut hasher);
    modules.file_name().hash(&mut hasher);
    format!("{SUITE}-{:016x}", hasher.finish())
}

/// Images of older recipes are never used again.
fn remove_old(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)?.filter_map(|entry| entry.ok()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("debian-") && name.ends_with(".ext4") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn make(modules: &Path, image: &Path) -> Result<()> {
    for (program, package) in TOOLS {
        host::ensure(program, package)?;
    }
    let folder = tempfile::Builder::new()
        .prefix("debian-root-")
        .tempdir_in(target_dir())?;
    let staged = folder.path().join("modules");
    stage_modules(modules, &staged)?;
    let tar = folder.path().join("root.tar");
    run(&mut debootstrap(&staged, &tar))?;
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree)?;
    let partial = folder.path().join("image");
    // One shell, because fakeroot forgets owners when it ends.
    let script = format!(
        "tar --numeric-owner -xf '{}' -C '{tree}' && mke2fs -q -t ext4 -L root -U 0e5e0d0a-0000-4000-8000-000000000000 \
         -E hash_seed=0e5e0d0a-0000-4000-8000-000000000001,lazy_itable_init=0,lazy_journal_init=0 -m 0 -d '{tree}' '{}' {SIZE}",
        tar.display(),
        partial.display(),
        tree = tree.display(),
    );
    let mut command = if host::is_root() {
        Command::new("sh")
    } else {
        let mut command = Command::new("fakeroot");
        command.arg("sh");
        command
    };
    command
        .args(["-c", &script])
        .env("PATH", host::search_path()?)
        .env("E2FSPROGS_FAKE_TIME", EPOCH);
    run(&mut command)?;
    std::fs::rename(&partial, image)?;
    Ok(())
}

/// Copy what is wanted of `lib/modules/VERSION` to a folder of that name under `staged`.
fn stage_modules(modules: &Path, staged: &Path) -> Result<()> {
    std::fs::create_dir(staged)?;
    run(Command::new("cp").arg("-rl").arg(modules).arg(staged))?;
    let version = modules.file_name().context("the modules have a version")?;
    for unwanted in NO_SUCH_HARDWARE {
        let folder = staged.join(version).join("kernel").join(unwanted);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

fn debootstrap(modules: &Path, tar: &Path) -> Command {
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=apt", "--format=tar", "--quiet"])
        .args(EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(format!(
            "--customize-hook=copy-in \"{}\" /usr/lib",
            modules.display()
        ))
        .arg("--customize-hook=sh -c \"$CUSTOMIZE\" customize \"$1\"")
        .arg(SUITE)
        .arg(tar)
        .args(mirrors())
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .env("CUSTOMIZE", CUSTOMIZE);
    command
}

/// The sources of this suite that the host's own apt uses; none where it is not this Debian, and mmdebstrap's own
/// choice then holds.
fn mirrors() -> Vec<String> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ])
        .env("LC_ALL", "C")
        .output();
    output.map_or_else(
        |_| Vec::new(),
        |output| sources(&String::from_utf8_lossy(&output.stdout)),
    )
}

/// Lines of `sources.list` for what `apt-get indextargets` printed; empty unless the suite itself is among them.
fn sources(targets: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut complete = false;
    for target in targets.lines() {
        let mut words = target.split_whitespace();
        let (Some(site), Some(suite), Some("main")) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let ours = suite == SUITE || suite.starts_with(&format!("{SUITE}-"));
        // Other vendors have suites of this name, but not with Debian's updates.
        if !ours || !site.contains("debian") || suite.ends_with("-backports") {
            continue;
        }
        complete |= suite == SUITE;
        lines.push(format!("deb {site} {suite} main"));
    }
    lines.dedup();
    if complete { lines } else { Vec::new() }
}

/// Run to the end; an unsuccessful end is an error that quotes the last lines of standard error.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = complaint.trim().lines().collect();
        bail!(
            "{program} failed: {}",
            lines[lines.len().saturating_sub(5)..].join("\n")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_mirror_is_used() {
        let targets = "http://mirror/debian bookworm main\nhttp://mirror/debian bookworm-updates main\n\
            https://apt.example nodistro main\nhttp://mirror/debian bookworm contrib\n";
        assert_eq!(
            sources(targets),
            [
                "deb http://mirror/debian bookworm main",
                "deb http://mirror/debian bookworm-updates main"
            ]
        );
        assert!(sources("http://mirror/debian trixie main\n").is_empty());
    }

    #[test]
    fn the_key_names_the_kernel() {
        assert_ne!(key(Path::new("a/6.1.0-1")), key(Path::new("a/6.1.0-2")));
        assert_eq!(key(Path::new("a/6.1.0-1")), key(Path::new("b/6.1.0-1")));
    }
}
