//! The store's daemon as a process: its socket, its options, and its death.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dom0_tools::xenstore::wire::{Message, Parser};
use hypercall_abi::io::xs_wire::XsdSockmsgType as Kind;

/// A daemon in the foreground, without Xen; killed at the end.
struct Process(Child);

impl Process {
    fn start(directory: &Path, options: &[&str]) -> Self {
        let child = command(directory)
            .arg("-N")
            .args(options)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xeno-xenstored"));
    command
        .arg("-D")
        .env("XENSTORED_RUNDIR", directory)
        .env_remove("XENSTORED_PATH")
        .env_remove("NOTIFY_SOCKET");
    command
}

struct Client {
    stream: UnixStream,
    parser: Parser,
}

impl Client {
    /// Connects, as soon as somebody listens.
    fn connect(directory: &Path) -> Self {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match UnixStream::connect(directory.join("socket")) {
                Ok(stream) => {
                    let parser = Parser::default();
                    return Self { stream, parser };
                }
                Err(error) => assert!(Instant::now() < deadline, "nobody listens: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A request and its answer; `None` if the daemon is gone.
    fn ask(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> Option<Message> {
        let message = Message {
            kind,
            request: 5,
            transaction,
            payload: payload.to_vec(),
        };
        self.stream.write_all(&message.to_bytes()).ok()?;
        loop {
            let answer = self.receive()?;
            if answer.kind != Kind::WATCH_EVENT {
                assert_eq!(answer.request, 5);
                return Some(answer);
            }
        }
    }

    fn receive(&mut self) -> Option<Message> {
        loop {
            let wanted = self.parser.wanted().unwrap();
            if wanted == 0 {
                return self.parser.take();
            }
            let mut bytes = vec![0; wanted];
            let count = self.stream.read(&mut bytes).ok()?;
            if count == 0 {
                return None;
            }
            self.parser.push(&bytes[..count]);
        }
    }

    fn read(&mut self, path: &str) -> Vec<u8> {
        let answer = self
            .ask(Kind::READ, 0, format!("{path}\0").as_bytes())
            .unwrap();
        answer.payload
    }
}

#[test]
fn a_killed_daemon_loses_nothing_it_has_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u32;
    for round in 0..8u64 {
        let daemon = Process::start(directory.path(), &[]);
        let mut client = Client::connect(directory.path());
        for number in 0..acknowledged {
            assert_eq!(
                client.read(&format!("/keys/{number}")),
                number.to_string().as_bytes()
            );
        }
        let path = directory.path().to_owned();
        let first = acknowledged;
        let writer = std::thread::spawn(move || {
            let mut client = Client::connect(&path);
            let mut next = first;
            // Either the key is acknowledged, or the daemon is gone.
            while next < first + 200 {
                let payload = format!("/keys/{next}\0{next}");
                match client.ask(Kind::WRITE, 0, payload.as_bytes()) {
                    Some(answer) => assert_eq!(answer.kind, Kind::WRITE),
                    None => break,
                }
                next += 1;
            }
            next
        });
        std::thread::sleep(Duration::from_millis(round));
        daemon.kill();
        acknowledged = writer.join().unwrap();
    }
    assert!(acknowledged > 0);
}

#[test]
fn the_background_daemon_serves_when_its_starter_returns() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let mut starter = command(directory.path())
        .args(["-P", "-F"])
        .arg(&pid_file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(starter.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert!(starter.wait().unwrap().success());
    assert_eq!(said, std::fs::read_to_string(&pid_file).unwrap());
    let mut stream = UnixStream::connect(directory.path().join("socket")).unwrap();
    stream.write_all(&[0]).unwrap();

    // There is one daemon for a directory.
    let second = command(directory.path()).arg("-N").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another daemon"));

    let killed = Command::new("kill")
        .args(["-9", said.trim()])
        .status()
        .unwrap();
    assert!(killed.success());
}

#[test]
fn garbage_on_one_socket_does_not_disturb_another() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Process::start(directory.path(), &[]);
    let mut good = Client::connect(directory.path());
    good.ask(Kind::WRITE, 0, b"/key\0value").unwrap();
    for seed in 0..50u8 {
        let mut bad = Client::connect(directory.path());
        let noise: Vec<u8> = (0..500u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ seed)
            .collect();
        // The daemon may close the socket while it is written to.
        let _ = bad.stream.write_all(&noise);
        assert_eq!(good.read("/key"), b"value");
    }
    let mut bad = Client::connect(directory.path());
    let header: Vec<u8> = [2u32, 1, 0, 4097]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    bad.stream.write_all(&header).unwrap();
    assert!(
        bad.receive().is_none(),
        "too long a payload must end the connection"
    );
    assert_eq!(good.read("/key"), b"value");
    daemon.kill();
}

#[test]
fn watches_tell_other_clients() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Process::start(directory.path(), &[]);
    let mut watcher = Client::connect(directory.path());
    let mut writer = Client::connect(directory.path());
    watcher.ask(Kind::WATCH, 0, b"/a\0token\0").unwrap();
    assert_eq!(watcher.receive().unwrap().payload, b"/a\0token\0");
    writer.ask(Kind::WRITE, 0, b"/a/b\0value").unwrap();
    assert_eq!(watcher.receive().unwrap().payload, b"/a/b\0token\0");
    daemon.kill();
}

#[test]
fn options_set_limits() {
    let directory = tempfile::tempdir().unwrap();
    let options = [
        "-E",
        "7",
        "--quota",
        "memory=12345",
        "-q",
        "memory=99",
        "-w",
        "watch-event=3",
    ];
    let daemon = Process::start(directory.path(), &options);
    let mut client = Client::connect(directory.path());
    let quotas = client.ask(Kind::CONTROL, 0, b"quota\0").unwrap();
    let text = String::from_utf8(quotas.payload).unwrap();
    assert!(
        text.contains("nodes            :        7 Nodes per domain"),
        "{text}"
    );
    assert!(text.contains("memory           :    12345 "), "{text}");
    daemon.kill();
    let wrong = command(directory.path())
        .args(["-N", "-Q", "nonsense=1"])
        .output()
        .unwrap();
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("unknown quota \"nonsense\""));
}
