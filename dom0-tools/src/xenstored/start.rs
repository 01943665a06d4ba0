//! From the command line to the running server: directory, lock, socket, pid file, background.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, process};

use rustix::fs::{FlockOperation, flock};

use super::daemon::Daemon;
use super::journal::{self, Journal};
use super::options::Options;
use super::platform::Platform;
use super::server::Server;

/// Where the daemon keeps its socket and its journal, unless `XENSTORED_RUNDIR` says otherwise.
const RUN_DIRECTORY: &str = "/run/xenstored";

/// Names the boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Set in the environment of the process in the background.
const CHILD: &str = "XENO_XENSTORED_CHILD";

/// What the child says on its standard output when it serves.
const READY: &[u8] = b"ready\n";

/// Runs the daemon until it ends. In the background if the options say so: returns as soon as the store can be used.
///
/// # Errors
/// Whatever keeps it from serving, as a text for people.
pub fn run(
    options: &Options,
    platform: impl FnOnce() -> Result<Box<dyn Platform>, String>,
) -> Result<(), String> {
    let child = env::var_os(CHILD).is_some();
    if !options.no_fork && !child {
        return spawn(options);
    }
    let directory = run_directory();
    let lock = prepare(&directory)
        .map_err(|error| format!("cannot use {}: {error}", directory.display()))?;
    let mut daemon = Daemon::new(platform()?);
    options.apply(&mut daemon)?;
    if let Some(path) = &options.trace_file
        && !daemon.trace.open(path.clone())
    {
        return Err(format!("cannot open the trace file {}", path.display()));
    }
    let journal = take_up(options, &directory, &mut daemon)
        .map_err(|error| format!("cannot write the journal: {error}"))?;
    let listener = listen(&socket_path(&directory))?;
    if let Some(path) = &options.pid_file {
        write_pid(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if options.output_pid && !child {
        println!("{}", process::id());
    }
    let reopen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&reopen))
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let mut server = Server::new(daemon, listener, Some(journal), reopen)
        .map_err(|error| format!("cannot listen: {error}"))?;
    announce(child);
    let result = server.run();
    drop(lock);
    result.map_err(|error| format!("cannot wait for requests: {error}"))
}

fn run_directory() -> PathBuf {
    env::var_os("XENSTORED_RUNDIR").map_or_else(|| RUN_DIRECTORY.into(), PathBuf::from)
}

fn socket_path(directory: &Path) -> PathBuf {
    env::var_os("XENSTORED_PATH").map_or_else(|| directory.join("socket"), PathBuf::from)
}

/// Makes the directory and makes sure that no other daemon uses it.
fn prepare(directory: &Path) -> io::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another daemon runs there"))?;
    Ok(lock)
}

/// Reads the journal of a daemon that ended, connects with the domains, and starts a new journal.
fn take_up(options: &Options, directory: &Path, daemon: &mut Daemon) -> io::Result<Journal> {
    let path = options
        .journal
        .clone()
        .unwrap_or_else(|| directory.join("state.journal"));
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let mut bytes = Vec::new();
    if !options.fresh
        && let Ok(mut file) = File::open(&path)
    {
        file.read_to_end(&mut bytes)?;
    }
    let records = journal::read(&bytes, boot.trim());
    let kernel_known = records
        .iter()
        .any(|record| matches!(record, journal::Record::Introduced { domain: 0, .. }));
    if !records.is_empty() {
        daemon.recover(records);
    }
    if !options.no_domain_init
        && !kernel_known
        && let Err(error) = daemon.connect_kernel()
    {
        daemon
            .trace
            .report(&format!("not connected with the kernel of dom0: {error}"));
    }
    let state = daemon.state();
    daemon.take_records();
    Journal::create(&path, boot.trim(), &state)
}

fn listen(path: &Path) -> Result<UnixListener, String> {
    // Nobody listens there any more: we hold the lock.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)
        .map_err(|error| format!("cannot bind {}: {error}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|error| format!("cannot protect {}: {error}", path.display()))?;
    Ok(listener)
}

fn write_pid(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", process::id())
}

/// Starts the same program once more in the background and waits until it serves.
fn spawn(options: &Options) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot start in the background: {error}");
    let program = env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(env::args_os().skip(1))
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(READY.len() as u64)
            .read_to_end(&mut said)
            .map_err(failed)?;
    }
    if said != READY {
        let status = child.wait().map_err(failed)?;
        return Err(format!("the daemon ended at its start ({status})"));
    }
    if options.output_pid {
        println!("{}", child.id());
    }
    Ok(())
}

/// Tells whoever waits that the store can be used.
fn announce(child: bool) {
    if child {
        let _ = rustix::process::setsid();
        let _ = io::stdout()
            .write_all(READY)
            .and_then(|()| io::stdout().flush());
        // Whoever started us may close its ends: nothing may be written there any more.
        if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
            let _ = rustix::stdio::dup2_stderr(&null);
        }
        let _ = env::set_current_dir("/");
    }
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Ok(socket) = UnixDatagram::unbound()
    {
        // systemd (Type=notify).
        let _ = socket.send_to(b"READY=1\n", path);
    }
}
