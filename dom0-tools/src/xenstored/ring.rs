//! Bytes from and to a page shared with a domain.
//!
//! The domain may write anything anywhere at any time. An index is read once and checked before it is used; bytes are copied once.
//! How far we are is published ([`Ring::publish`]) only after what was read has been done and entered in the journal, so a daemon
//! that dies in between finds the request again.

use std::sync::atomic::{Ordering, fence};

use hypercall_abi::io::xs_wire::{
    RING_SIZE, XenstoreConnection, XenstoreError, XenstoreServerFeatures,
};

use super::platform::{Page, Word};
use crate::xenstore::wire::Parser;

/// Size of a ring, as its indices count.
const SIZE: u32 = RING_SIZE as u32;

/// Reads a word.
pub fn load(page: &dyn Page, word: Word) -> u32 {
    page.words()[word as usize].load(Ordering::Acquire)
}

/// Writes a word.
pub fn store(page: &dyn Page, word: Word, value: u32) {
    page.words()[word as usize].store(value, Ordering::Release);
}

/// Tells the domain that it may ask for a new start and that errors are told.
pub fn offer_features(page: &dyn Page) {
    let features = XenstoreServerFeatures::RECONNECTION | XenstoreServerFeatures::ERROR;
    store(page, Word::ServerFeatures, features.bits());
}

/// Whether the domain asks for a new start.
#[must_use]
pub fn wants_reset(page: &dyn Page) -> bool {
    load(page, Word::Connection) == XenstoreConnection::RECONNECT.0
}

/// How far a ring is read and written.
#[derive(Debug, Default)]
pub struct Ring {
    consumed: u32,
    published: u32,
    produced: u32,
    /// The request that is being read.
    pub parser: Parser,
}

impl Ring {
    /// Takes up a ring where its page says that it is.
    #[must_use]
    pub fn at(page: &dyn Page) -> Self {
        let consumed = load(page, Word::ReqCons);
        Self {
            consumed,
            published: consumed,
            produced: load(page, Word::RspProd),
            parser: Parser::default(),
        }
    }

    /// Takes up a ring where the journal says that it is: requests up to `consumed` are done or in `partial`, and the page said
    /// `published` at that time. A page that says something else was started anew by the domain, and is right.
    #[must_use]
    pub fn resumed(page: &dyn Page, published: u32, consumed: u32, partial: &[u8]) -> Self {
        let mut ring = Self::at(page);
        if ring.published == consumed || ring.published == published {
            ring.consumed = consumed;
            ring.parser = Parser::resumed(partial.to_vec());
        }
        ring
    }

    /// Starts a ring from zero.
    #[must_use]
    pub fn reset(page: &dyn Page) -> Self {
        for word in [Word::ReqCons, Word::ReqProd, Word::RspCons, Word::RspProd] {
            store(page, word, 0);
        }
        store(page, Word::Error, XenstoreError::NONE.0);
        offer_features(page);
        store(page, Word::Connection, XenstoreConnection::CONNECTED.0);
        Self::default()
    }

    /// Index of the next byte of a request.
    #[must_use]
    pub const fn consumed(&self) -> u32 {
        self.consumed
    }

    /// What the page says of the requests.
    #[must_use]
    pub const fn published(&self) -> u32 {
        self.published
    }

    /// Index of the next byte of an answer.
    #[must_use]
    pub const fn produced(&self) -> u32 {
        self.produced
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn readable(&self, page: &dyn Page) -> bool {
        load(page, Word::ReqProd) != self.consumed
    }

    /// Whether there is room to write.
    #[must_use]
    pub fn writable(&self, page: &dyn Page) -> bool {
        self.produced.wrapping_sub(load(page, Word::RspCons)) != SIZE
    }

    /// Follows a domain that started its ring anew by itself (hvmloader zeroes the page when it is done).
    pub fn follow(&mut self, page: &dyn Page) {
        let now = load(page, Word::ReqCons);
        if now != self.published {
            self.consumed = now;
            self.published = now;
            self.parser = Parser::default();
        }
        self.produced = load(page, Word::RspProd);
    }

    /// Reads at most `most` bytes into the parser; how many there were.
    ///
    /// # Errors
    /// The domain's index is impossible.
    pub fn read(&mut self, page: &dyn Page, most: usize) -> Result<usize, XenstoreError> {
        let available = load(page, Word::ReqProd).wrapping_sub(self.consumed);
        if available > SIZE {
            return Err(XenstoreError::RINGIDX);
        }
        let count = most.min(available as usize);
        let mut bytes = [0; RING_SIZE];
        for (offset, byte) in bytes[..count].iter_mut().enumerate() {
            let at = (self.consumed as usize + offset) % RING_SIZE;
            *byte = page.requests()[at].load(Ordering::Relaxed);
        }
        self.parser.push(&bytes[..count]);
        self.consumed = self.consumed.wrapping_add(count as u32);
        Ok(count)
    }

    /// Tells the domain how far its requests are read; whether that is news.
    pub fn publish(&mut self, page: &dyn Page) -> bool {
        let news = self.published != self.consumed;
        if news {
            fence(Ordering::SeqCst);
            store(page, Word::ReqCons, self.consumed);
            self.published = self.consumed;
        }
        news
    }

    /// Writes as many of the bytes as fit; how many that is.
    ///
    /// # Errors
    /// The domain's index is impossible.
    pub fn write(&mut self, page: &dyn Page, bytes: &[u8]) -> Result<usize, XenstoreError> {
        let used = self.produced.wrapping_sub(load(page, Word::RspCons));
        let room = SIZE.checked_sub(used).ok_or(XenstoreError::RINGIDX)?;
        let count = bytes.len().min(room as usize);
        for (offset, byte) in bytes[..count].iter().enumerate() {
            let at = (self.produced as usize + offset) % RING_SIZE;
            page.responses()[at].store(*byte, Ordering::Relaxed);
        }
        self.produced = self.produced.wrapping_add(count as u32);
        store(page, Word::RspProd, self.produced);
        fence(Ordering::SeqCst);
        Ok(count)
    }
}
