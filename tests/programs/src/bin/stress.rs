//! `stress SECONDS`: what goes wrong first when several processors share address spaces, in all threads at once, with
//! every result compared to what it must be. Ends with status 1 and a line that says what was wrong.
//!
//! * Processes start and end, each with an exit code of its own.
//! * Threads map, fill, grow, protect, copy on write by fork, and unmap memory, and look at every page of it.
//! * Threads hand a token around in a ring, asleep in between.
//! * A pipe carries numbers from process to process.
//! * No thread ever reads a time that another has read before and found later.

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::mman::{MRemapFlags, MapFlags, ProtFlags, mmap_anonymous, mprotect, mremap, munmap};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork};

const PAGE: usize = 4096;

/// How the program ends when a result is wrong.
fn wrong(what: &str) -> ! {
    eprintln!("stress: {what}");
    std::process::exit(1)
}

fn check(fine: bool, what: &str) {
    if !fine {
        wrong(what);
    }
}

/// Numbers that look random, by xorshift.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Mapped memory, as words.
struct Area {
    start: std::ptr::NonNull<std::ffi::c_void>,
    pages: usize,
}

fn bytes(pages: usize) -> NonZeroUsize {
    NonZeroUsize::new(pages * PAGE).unwrap_or_else(|| wrong("an area of no pages"))
}

impl Area {
    fn new(pages: usize) -> Self {
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(None, bytes(pages), rights, MapFlags::MAP_PRIVATE) };
        let start = start.unwrap_or_else(|error| wrong(&format!("mmap: {error}")));
        Self { start, pages }
    }

    fn word(&self, page: usize) -> *mut u64 {
        assert!(page < self.pages);
        // SAFETY: within the mapping.
        unsafe {
            self.start
                .as_ptr()
                .cast::<u8>()
                .add(page * PAGE + page % 500 * 8)
                .cast()
        }
    }

    fn write(&self, page: usize, value: u64) {
        // SAFETY: a word of the mapping, which only this thread uses.
        unsafe { self.word(page).write_volatile(value) };
    }

    fn read(&self, page: usize) -> u64 {
        // SAFETY: as in `write`.
        unsafe { self.word(page).read_volatile() }
    }

    fn grow(&mut self, pages: usize) {
        let flags = MRemapFlags::MREMAP_MAYMOVE;
        // SAFETY: nothing keeps an address of the old place.
        let start = unsafe { mremap(self.start, self.pages * PAGE, pages * PAGE, flags, None) };
        self.start = start.unwrap_or_else(|error| wrong(&format!("mremap: {error}")));
        self.pages = pages;
    }

    fn protect(&self, rights: ProtFlags) {
        // SAFETY: only this thread uses the mapping, and it writes only while it may.
        let done = unsafe { mprotect(self.start, self.pages * PAGE, rights) };
        done.unwrap_or_else(|error| wrong(&format!("mprotect: {error}")));
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is not used any more.
        let done = unsafe { munmap(self.start, self.pages * PAGE) };
        done.unwrap_or_else(|error| wrong(&format!("munmap: {error}")));
    }
}

fn map_and_unmap(seed: u64) {
    let mut numbers = Numbers(seed);
    let pages = 1 + (numbers.next() % 200) as usize;
    let base = numbers.next();
    let mut area = Area::new(pages);
    check(
        (0..pages).all(|page| area.read(page) == 0),
        "a new page is not empty",
    );
    (0..pages).for_each(|page| area.write(page, base + page as u64));
    area.grow(pages * 2);
    area.protect(ProtFlags::PROT_READ);
    let holds = |area: &Area| (0..pages).all(|page| area.read(page) == base + page as u64);
    check(holds(&area), "a page changed while the area grew");
    check(
        (pages..pages * 2).all(|page| area.read(page) == 0),
        "a page grown is not empty",
    );
    area.protect(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    if numbers.next().is_multiple_of(8) {
        // SAFETY: the child touches its copy of the area and ends without running anything of the parent's.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                let fine = holds(&area);
                (0..pages).for_each(|page| area.write(page, !base));
                let fine = fine && (0..pages).all(|page| area.read(page) == !base);
                // SAFETY: ends the process at once.
                unsafe { nix::libc::_exit(i32::from(!fine)) }
            }
            Ok(ForkResult::Parent { child }) => {
                (0..pages)
                    .step_by(2)
                    .for_each(|page| area.write(page, base + page as u64));
                let ended = waitpid(child, None);
                let fine = matches!(ended, Ok(WaitStatus::Exited(_, 0)));
                check(fine, &format!("a forked child saw other memory: {ended:?}"));
            }
            Err(error) => wrong(&format!("fork: {error}")),
        }
    }
    check(holds(&area), "a page changed");
}

fn start_process(number: u64) {
    let code = (number % 100) as i32 + 3;
    let status = Command::new("/proc/self/exe")
        .arg("exit")
        .arg(code.to_string())
        .status();
    match status {
        Ok(status) => check(
            status.code() == Some(code),
            "a process ended with another code",
        ),
        Err(error) => wrong(&format!("starting a process: {error}")),
    }
}

fn pipe_numbers(seed: u64) {
    let child = Command::new("/proc/self/exe")
        .args(["numbers", &seed.to_string()])
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| wrong(&format!("starting a process: {error}")));
    let mut got = Vec::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_end(&mut got)
            .unwrap_or_else(|error| wrong(&format!("pipe: {error}")));
    }
    check(
        child.wait().is_ok_and(|status| status.success()),
        "the writer of a pipe failed",
    );
    check(got == numbers_of(seed), "a pipe changed what it carries");
}

fn numbers_of(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..20_000)
        .flat_map(|_| numbers.next().to_le_bytes())
        .collect()
}

/// A token that goes around among threads.
struct Ring {
    turn: Mutex<u64>,
    changed: Condvar,
}

/// What all threads share.
struct Shared {
    stop: AtomicBool,
    latest_ns: AtomicU64,
    rounds: [AtomicU64; 5],
    ring: Ring,
    members: u64,
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| wrong("no clock"));
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

fn read_clock(shared: &Shared) {
    for _ in 0..1000 {
        let before = shared.latest_ns.load(Ordering::SeqCst);
        let now = now_ns();
        check(
            now >= before,
            &format!("time went back by {} ns", before.saturating_sub(now)),
        );
        shared.latest_ns.fetch_max(now, Ordering::SeqCst);
    }
}

fn pass_token(shared: &Shared, member: u64) {
    let Ok(mut turn) = shared.ring.turn.lock() else {
        wrong("a thread died")
    };
    while *turn % shared.members != member {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok((next, timeout)) = shared
            .ring
            .changed
            .wait_timeout(turn, Duration::from_secs(20))
        else {
            wrong("a thread died")
        };
        check(!timeout.timed_out(), "the token got lost for 20 seconds");
        turn = next;
    }
    *turn += 1;
    shared.ring.changed.notify_all();
}

/// One round of work of one thread: with what all share, which of its kind it is, and a number.
type Work = fn(&Shared, u64, u64);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = arguments.get(2).and_then(|text| text.parse::<u64>().ok());
    match (arguments.get(1).map(String::as_str), number) {
        (Some("exit"), Some(code)) => return ExitCode::from(code as u8),
        (Some("numbers"), Some(seed)) => {
            let done = std::io::stdout().write_all(&numbers_of(seed));
            return ExitCode::from(u8::from(done.is_err()));
        }
        _ => {}
    }
    let seconds = arguments
        .get(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        latest_ns: AtomicU64::new(0),
        rounds: Default::default(),
        ring: Ring {
            turn: Mutex::new(0),
            changed: Condvar::new(),
        },
        members: cpus + 1,
    });
    let kinds: [(u64, Work); 5] = [
        (cpus + 1, |_, _, seed| map_and_unmap(seed)),
        (cpus, |_, _, seed| start_process(seed)),
        (1, |_, _, seed| pipe_numbers(seed)),
        (cpus, |shared, _, _| read_clock(shared)),
        (cpus + 1, |shared, member, _| pass_token(shared, member)),
    ];
    let mut threads = Vec::new();
    for (kind, (count, work)) in kinds.into_iter().enumerate() {
        for member in 0..count {
            let shared = shared.clone();
            threads.push(std::thread::spawn(move || {
                let mut numbers = Numbers(1 + member + 1000 * kind as u64);
                while !shared.stop.load(Ordering::SeqCst) {
                    work(&shared, member, numbers.next());
                    shared.rounds[kind].fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    shared.stop.store(true, Ordering::SeqCst);
    shared.ring.changed.notify_all();
    for thread in threads {
        check(thread.join().is_ok(), "a thread died");
    }
    let [maps, processes, pipes, clocks, tokens] = shared
        .rounds
        .each_ref()
        .map(|count| count.load(Ordering::SeqCst));
    println!(
        "stress: {cpus} processors, {maps} areas, {processes} processes, {pipes} pipes, {clocks} clock runs, {tokens} tokens"
    );
    ExitCode::from(u8::from(
        [maps, processes, pipes, clocks, tokens].contains(&0),
    ))
}
