//! `clock HOST:PORT SECONDS`: whether this machine's clocks keep step with that of the peer, which answers `time` with
//! its monotonic clock in nanoseconds. Ends with status 1 if they part by more than [`BOUND`], or if a clock ever goes
//! backwards between any two readers.
//!
//! One question takes a while both ways; of several, the quickest answer tells most.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How far clocks may part, in nanoseconds.
const BOUND: i64 = 50_000_000;
/// Questions for one comparison.
const QUESTIONS: usize = 40;

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).unwrap_or_else(|error| panic!("clock_gettime: {error}"));
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// The peer's clock minus ours, and how far that may be off.
fn compare(peer: &mut BufReader<TcpStream>, clock: ClockId) -> std::io::Result<(i64, i64)> {
    let mut best = (0, i64::MAX);
    for _ in 0..QUESTIONS {
        let asked = now(clock);
        peer.get_mut().write_all(b"time\n")?;
        let mut line = String::new();
        peer.read_line(&mut line)?;
        let answered = now(clock);
        let theirs: i64 = line.trim().parse().map_err(std::io::Error::other)?;
        let error = (answered - asked) as i64 / 2;
        if error < best.1 {
            best = (theirs - (asked as i64 + error), error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(best)
}

/// Read the clock until `end`; false if it ever is before what another thread has read.
fn never_backwards(latest: &AtomicU64, end: &AtomicBool) -> bool {
    while !end.load(Ordering::Relaxed) {
        let before = latest.load(Ordering::SeqCst);
        let time = now(ClockId::CLOCK_MONOTONIC);
        if time < before {
            eprintln!("clock: {time} was read after {before}");
            return false;
        }
        latest.fetch_max(time, Ordering::SeqCst);
        // A reading now and then from each processor finds a step as well as a busy loop.
        std::thread::sleep(Duration::from_micros(500));
    }
    true
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, seconds] = &arguments[..] else {
        eprintln!("usage: clock HOST:PORT SECONDS");
        return ExitCode::FAILURE;
    };
    let seconds: u64 = seconds.parse().unwrap_or(0);
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let _ = stream.set_nodelay(true);
    let mut peer = BufReader::new(stream);
    let clocks = [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_REALTIME];
    let mut compare_all =
        || clocks.map(|clock| compare(&mut peer, clock).expect("the peer answers"));
    let first = compare_all();
    let (latest, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    let forwards = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..readers)
            .map(|_| scope.spawn(|| never_backwards(&latest, &end)))
            .collect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(100));
        }
        end.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .all(|reader| reader.join().unwrap_or(false))
    });
    let last = compare_all();
    let mut fine = forwards;
    for (name, (before, after)) in ["monotonic", "real"].iter().zip(first.iter().zip(&last)) {
        let parted = after.0 - before.0;
        println!(
            "clock: {name} parted by {parted} ns in {seconds} s, known to {} ns",
            before.1 + after.1
        );
        fine &= parted.abs() <= BOUND + before.1 + after.1;
    }
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
