//! Guests that write what they like where the FIFO format keeps its state.

extern crate std;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec::Vec;

use proptest::prelude::*;

use super::fifo_guest::{CONTROL_OFFSET, FifoGuest};
use super::{VCPUS, domain};
use crate::evtchn::event_word::{BUSY, LINKED};
use crate::machine::Frames;
use crate::num::{Mfn, Port, VcpuId};
use crate::sim::world;

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Unmask(usize),
    Move(usize, u32),
    WriteWord(usize, u64),
    WriteControl(u32, usize, u64),
    Rebind(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let port = 0..5usize;
    prop_oneof![
        4 => port.clone().prop_map(Step::Send),
        2 => port.clone().prop_map(Step::Unmask),
        1 => (port.clone(), 0..VCPUS).prop_map(|(port, vcpu)| Step::Move(port, vcpu)),
        4 => (0..512usize, any::<u64>()).prop_map(|(word, value)| Step::WriteWord(word % 4, value)),
        2 => (0..VCPUS, 0..9usize, any::<u64>()).prop_map(|(vcpu, word, value)| Step::WriteControl(vcpu, word, value)),
        1 => port.prop_map(Step::Rebind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::sim::cases(200), ..ProptestConfig::default() })]

    #[test]
    fn nothing_outside_the_registered_pages_changes(steps in proptest::collection::vec(step(), 1..100)) {
        let hv = world();
        let receiver = domain(&hv, 1);
        let mut guest = FifoGuest::new(&hv, receiver.clone(), VCPUS);
        guest.expand(&hv);
        let bind = || hv.bind_ipi(&receiver, VcpuId(0)).ok();
        let mut ports: Vec<Option<Port>> = (0..5).map(|_| bind()).collect();
        let mut known: Vec<Mfn> = guest.array.clone();
        known.extend(guest.control.values());
        known.push(receiver.shared_info);
        let snapshot = || -> Vec<u64> {
            let config = hv.machine.config();
            (config.reserved..config.frames)
                .map(Mfn)
                .filter(|mfn| !known.contains(mfn))
                .flat_map(|mfn| [0, 1, 255, 256, 511].map(|i| hv.machine.words(mfn)[i].load(Ordering::SeqCst)))
                .collect()
        };
        let before = snapshot();
        for step in steps {
            match step {
                Step::Send(i) => { ports[i].map(|port| hv.send_event(&receiver, port)); }
                Step::Unmask(i) => { ports[i].map(|port| hv.unmask_event(&receiver, port)); }
                Step::Move(i, vcpu) => { ports[i].map(|port| hv.bind_vcpu(&receiver, port, VcpuId(vcpu))); }
                Step::WriteWord(word, value) => {
                    hv.machine.words(guest.array[0])[word].store(value, Ordering::SeqCst);
                }
                Step::WriteControl(vcpu, word, value) => {
                    let first = CONTROL_OFFSET as usize / 8;
                    hv.machine.words(guest.control[&vcpu])[first + word].store(value, Ordering::SeqCst);
                }
                Step::Rebind(i) => {
                    ports[i].map(|port| hv.close_port(&receiver, port));
                    ports[i] = bind();
                }
            }
        }
        prop_assert_eq!(before, snapshot());
        hv.destroy_events(&receiver).expect("end");
    }
}

#[test]
fn closed_ports_that_stay_linked_cannot_hold_up_an_allocation() {
    let hv = world();
    let receiver = super::limited_domain(&hv, 1, u32::MAX);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 1);
    for _ in 0..3 {
        guest.expand(&hv);
    }
    for _ in 0..3000 {
        hv.bind_ipi(&receiver, VcpuId(0)).expect("port");
    }
    for port in 1..=3000 {
        hv.close_port(&receiver, Port(port)).expect("close");
        guest.word(&hv, Port(port)).set(LINKED);
    }
    assert_eq!(
        hv.bind_ipi(&receiver, VcpuId(0)),
        Err(hypercall_abi::errno::Errno::ENOSPC)
    );
    guest.word(&hv, Port(900)).clear(LINKED);
    assert_eq!(hv.bind_ipi(&receiver, VcpuId(0)), Ok(Port(900)));
}

#[test]
fn a_guest_that_hammers_the_words_meanwhile_holds_nobody_up() {
    let hv = Arc::new(world());
    let receiver = domain(&hv, 1);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 1);
    guest.expand(&hv);
    let ports: Vec<Port> = (0..4)
        .map(|_| hv.bind_ipi(&receiver, VcpuId(0)).expect("port"))
        .collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 1u64;
            while !stop.load(Ordering::Relaxed) {
                value = value
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                for word in &hv.machine.words(guest.array[0])[..3] {
                    word.store(value, Ordering::SeqCst);
                }
            }
        });
        for round in 0..20_000 {
            hv.send_event(&receiver, ports[round % 4]).expect("send");
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Whoever was linking has let go: the guest's unmask would wait for it.
    for word in &hv.machine.words(guest.array[0])[..3] {
        word.store(0, Ordering::SeqCst);
    }
    for port in &ports {
        hv.send_event(&receiver, *port).expect("send");
        assert_eq!(guest.word(&hv, *port).load() & BUSY, 0);
    }
}
