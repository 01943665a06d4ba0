//! A guest that harms the daemons of dom0 in every way that its rings and ports allow. The word on the command line names the way:
//! `rings` (garbage in both rings, indices included), `flood` (events without end), `requests` (every request that makes the store
//! keep something, faster than answers are taken). It never ends by itself.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest {
    // UNSAFETY: writes to the rings behind start_info, where the toolstack's builder puts them.
    #![expect(unsafe_code, reason = "what is in the rings is the subject")]

    use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

    use pv_guest_shim::hypercall_abi::xen::StartInfo;
    use pv_guest_shim::{events, sched, start};

    pv_guest_shim::entry!(main);

    const PAGE: usize = 4096;
    /// Offsets of the indices of the store's ring, behind two times 1024 bytes.
    const REQUEST_CONSUMER: usize = 2048;
    const REQUEST_PRODUCER: usize = 2052;
    const ANSWER_CONSUMER: usize = 2056;
    const ANSWER_PRODUCER: usize = 2060;
    /// `XS_WATCH`, `XS_TRANSACTION_START`, `XS_WRITE`, `XS_DIRECTORY`.
    const KINDS: [u32; 4] = [4, 6, 11, 1];

    struct Rings {
        store: usize,
        console: usize,
        ports: [u32; 2],
        random: u32,
    }

    fn main(start_info: &'static StartInfo) -> ! {
        start::init(start_info);
        let page = core::ptr::from_ref(start_info).addr();
        let mut rings = Rings {
            store: page + PAGE,
            console: page + 2 * PAGE,
            ports: [start_info.store_evtchn, start_info.console.as_domU().evtchn],
            random: 0x2545_f491,
        };
        let way = start_info.cmd_line[0];
        loop {
            match way {
                b'r' => rings.fill(),
                b'f' => rings.notify(),
                _ => rings.request(),
            }
        }
    }

    impl Rings {
        fn next(&mut self) -> u32 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            self.random
        }

        fn word(address: usize) -> &'static AtomicU32 {
            // SAFETY: an aligned word of a ring's page, which is mapped as long as the guest runs and which others change, too.
            unsafe { AtomicU32::from_ptr(core::ptr::with_exposed_provenance_mut(address)) }
        }

        fn byte(address: usize) -> &'static AtomicU8 {
            // SAFETY: as above.
            unsafe { AtomicU8::from_ptr(core::ptr::with_exposed_provenance_mut(address)) }
        }

        fn notify(&mut self) {
            for port in self.ports {
                let _ = events::send(port);
            }
        }

        fn fill(&mut self) {
            for page in [self.store, self.console] {
                for at in (0..PAGE).step_by(4) {
                    let value = self.next();
                    Self::word(page + at).store(value, Ordering::SeqCst);
                }
            }
            self.notify();
        }

        /// One request into the ring, and now and then no look at the answers.
        fn request(&mut self) {
            let random = self.next();
            let kind = KINDS[(random >> 8) as usize % KINDS.len()];
            let mut body = *b"data/00000000\0value\0";
            for (index, digit) in body[5..13].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(random >> (index * 4)) as usize & 15];
            }
            let mut message = [0_u8; 36];
            let numbers = [kind, random, 0, body.len() as u32];
            for (bytes, number) in message.chunks_exact_mut(4).zip(numbers) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            message[16..].copy_from_slice(&body);
            let producer = Self::word(self.store + REQUEST_PRODUCER);
            let consumer = Self::word(self.store + REQUEST_CONSUMER);
            let start = producer.load(Ordering::SeqCst);
            let used = start.wrapping_sub(consumer.load(Ordering::SeqCst));
            if used as usize + message.len() <= 1024 {
                for (at, byte) in (start..).zip(message) {
                    Self::byte(self.store + (at as usize & 1023)).store(byte, Ordering::SeqCst);
                }
                producer.store(start.wrapping_add(message.len() as u32), Ordering::SeqCst);
            } else {
                sched::yield_now();
            }
            if random & 0xff_0000 != 0 {
                let seen = Self::word(self.store + ANSWER_PRODUCER).load(Ordering::SeqCst);
                Self::word(self.store + ANSWER_CONSUMER).store(seen, Ordering::SeqCst);
            }
            self.notify();
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a PV guest: build it with --target x86_64-unknown-none");
}
