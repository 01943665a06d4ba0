//! One direction of a byte ring in a page shared with another domain: the console's and the store's rings.
//!
//! The indices run freely and are the other end's to change at any time: a distance larger than the ring is an error, never an
//! access outside of it.
//!
//! Contract: public/io/console.h, public/io/xs_wire.h.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The other end's index makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadIndex {
    /// The consumer's index as read.
    pub consumer: u32,
    /// The producer's index as read.
    pub producer: u32,
}

/// One direction of a ring.
#[derive(Clone, Copy, Debug)]
pub struct ByteRing<'a> {
    /// The bytes; their number is a power of two.
    bytes: &'a [AtomicU8],
    consumer: &'a AtomicU32,
    producer: &'a AtomicU32,
}

impl<'a> ByteRing<'a> {
    /// A ring of bytes and its two indices.
    ///
    /// # Panics
    /// If the number of bytes is not a power of two.
    #[must_use]
    pub const fn new(
        bytes: &'a [AtomicU8],
        consumer: &'a AtomicU32,
        producer: &'a AtomicU32,
    ) -> Self {
        assert!(bytes.len().is_power_of_two());
        Self {
            bytes,
            consumer,
            producer,
        }
    }

    /// Consumer, producer, and the bytes between.
    fn indices(&self) -> Result<(u32, u32, usize), BadIndex> {
        let consumer = self.consumer.load(Ordering::Acquire);
        let producer = self.producer.load(Ordering::Acquire);
        let used = producer.wrapping_sub(consumer) as usize;
        if used > self.bytes.len() {
            return Err(BadIndex { consumer, producer });
        }
        Ok((consumer, producer, used))
    }

    fn byte(&self, index: u32) -> Option<&AtomicU8> {
        self.bytes.get(index as usize & (self.bytes.len() - 1))
    }

    /// Puts as many bytes into the ring as fit, and returns how many.
    ///
    /// # Errors
    /// If the other end's index makes no sense; nothing is written then.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, BadIndex> {
        let (_, mut producer, used) = self.indices()?;
        let room = self.bytes.len() - used;
        let mut written = 0;
        for value in bytes.iter().take(room) {
            if let Some(byte) = self.byte(producer) {
                byte.store(*value, Ordering::Relaxed);
            }
            producer = producer.wrapping_add(1);
            written += 1;
        }
        self.producer.store(producer, Ordering::Release);
        Ok(written)
    }

    /// Takes bytes from the ring, as many as there are and as the buffer holds, and returns how many.
    ///
    /// # Errors
    /// If the other end's index makes no sense; nothing is taken then.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, BadIndex> {
        let (mut consumer, _, used) = self.indices()?;
        let mut taken = 0;
        for value in buffer.iter_mut().take(used) {
            if let Some(byte) = self.byte(consumer) {
                *value = byte.load(Ordering::Relaxed);
            }
            consumer = consumer.wrapping_add(1);
            taken += 1;
        }
        self.consumer.store(consumer, Ordering::Release);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::VecDeque;
    use std::vec::Vec;

    use super::*;

    struct Memory {
        bytes: [AtomicU8; 16],
        consumer: AtomicU32,
        producer: AtomicU32,
    }

    impl Memory {
        fn at(index: u32) -> Self {
            Self {
                bytes: [const { AtomicU8::new(0) }; 16],
                consumer: AtomicU32::new(index),
                producer: AtomicU32::new(index),
            }
        }

        fn ring(&self) -> ByteRing<'_> {
            ByteRing::new(&self.bytes, &self.consumer, &self.producer)
        }
    }

    #[test]
    fn behaves_like_a_bounded_queue_across_both_wraps() {
        let memory = Memory::at(u32::MAX - 40);
        let ring = memory.ring();
        let mut model = VecDeque::new();
        let mut next = 0u8;
        for round in 0..200usize {
            let data: Vec<u8> = (0..round % 21)
                .map(|i| next.wrapping_add(i as u8))
                .collect();
            let written = ring.write(&data).unwrap();
            assert_eq!(written, data.len().min(16 - model.len()), "round {round}");
            model.extend(&data[..written]);
            next = next.wrapping_add(written as u8);
            let mut buffer = [0; 32];
            let wanted = round * 7 % 19;
            let taken = ring.read(&mut buffer[..wanted]).unwrap();
            let expected: Vec<u8> = (0..wanted).map_while(|_| model.pop_front()).collect();
            assert_eq!(&buffer[..taken], expected, "round {round}");
        }
        assert!(memory.producer.load(Ordering::Relaxed) < 1 << 31);
    }

    #[test]
    fn a_lying_peer_is_an_error_and_changes_nothing() {
        let memory = Memory::at(5);
        memory.producer.store(5 + 17, Ordering::Relaxed);
        let bad = BadIndex {
            consumer: 5,
            producer: 22,
        };
        assert_eq!(memory.ring().read(&mut [0; 4]), Err(bad));
        assert_eq!(memory.ring().write(b"abc"), Err(bad));
        memory.producer.store(4, Ordering::Relaxed);
        assert!(memory.ring().read(&mut [0; 4]).is_err());
        assert_eq!(memory.consumer.load(Ordering::Relaxed), 5);
        assert!(memory.bytes.iter().all(|b| b.load(Ordering::Relaxed) == 0));
    }
}
