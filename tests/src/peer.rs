//! The other side of a machine's network: a TCP server of this process, which QEMU's user network reaches as 10.0.2.2.
//!
//! A connection carries lines of orders: `send BYTES` (that many bytes come, then a line with their checksum),
//! `receive BYTES` (that many bytes go, then comes a line with their checksum), `time` (a line with this host's
//! monotonic clock in nanoseconds). Checksums are lines as POSIX `cksum` prints them.

use anyhow::{Context, Result, bail};
use crc::{CRC_32_CKSUM, Crc, Digest, Table};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where a machine finds this host.
const HOST: &str = "10.0.2.2";
/// Nobody waits longer for a machine that does not read.
const PATIENCE: Duration = Duration::from_secs(300);
const CHUNK: usize = 1 << 16;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);

/// A server; it lives as long as this process.
pub struct Peer {
    port: u16,
}

impl Peer {
    /// Start one.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen for a machine")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A machine that ends in the middle is no matter of ours.
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { port })
    }

    /// As machines address it: HOST:PORT.
    pub fn address(&self) -> String {
        format!("{HOST}:{}", self.port)
    }
}

fn serve(stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let mut words = line.split_whitespace();
        let order = words.next().unwrap_or_default();
        let bytes = words.next().and_then(|word| word.parse().ok());
        match (order, bytes) {
            ("send", Some(bytes)) => send(&mut output, bytes)?,
            ("receive", Some(bytes)) => receive(&mut input, &mut output, bytes)?,
            ("time", None) => writeln!(output, "{}", monotonic().as_nanos())?,
            _ => bail!("a machine ordered {line:?}"),
        }
        line.clear();
    }
    Ok(())
}

/// Since the first question.
fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn send(output: &mut impl Write, bytes: u64) -> Result<()> {
    let mut digest = CRC.digest();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    while left > 0 {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.extend(state.to_le_bytes());
        }
        chunk.truncate(usize::try_from(left).unwrap_or(CHUNK).min(CHUNK));
        digest.update(&chunk);
        output.write_all(&chunk)?;
        left -= chunk.len() as u64;
    }
    finish(output, digest, bytes)
}

fn receive(input: &mut impl Read, output: &mut impl Write, bytes: u64) -> Result<()> {
    let mut digest = CRC.digest();
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let count = input.read(&mut buffer[..wanted])?;
        if count == 0 {
            bail!("a machine hung up {left} bytes early");
        }
        digest.update(&buffer[..count]);
        left -= count as u64;
    }
    finish(output, digest, bytes)
}

/// POSIX `cksum` takes the length into the sum, without leading zero bytes.
fn finish(
    output: &mut impl Write,
    mut digest: Digest<'_, u32, Table<16>>,
    bytes: u64,
) -> Result<()> {
    let length = bytes.to_le_bytes();
    let used = length
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    digest.update(&length[..used]);
    writeln!(output, "{} {bytes}", digest.finalize())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_cksum() {
        let mut output = Vec::new();
        receive(&mut &b"123456789"[..], &mut output, 9).unwrap();
        assert_eq!(output, b"930766865 9\n");
        assert!(receive(&mut &b"12"[..], &mut output, 3).is_err());
    }

    #[test]
    fn what_was_sent_can_be_sent_back() {
        let peer = Peer::start().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", peer.port)).unwrap();
        stream.write_all(b"send 100000\n").unwrap();
        let mut data = vec![0; 100_000];
        let mut input = BufReader::new(stream.try_clone().unwrap());
        input.read_exact(&mut data).unwrap();
        let mut sent = String::new();
        input.read_line(&mut sent).unwrap();
        stream.write_all(b"receive 100000\n").unwrap();
        stream.write_all(&data).unwrap();
        let mut received = String::new();
        input.read_line(&mut received).unwrap();
        assert_eq!(sent, received);
        stream.write_all(b"time\n").unwrap();
        let mut time = String::new();
        input.read_line(&mut time).unwrap();
        assert!(time.trim().parse::<u64>().is_ok());
    }
}
