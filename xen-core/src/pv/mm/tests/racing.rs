//! Two processors at once in the same domain's tables.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::super::entry::{PRESENT, RW, USER};
use super::super::target::get_upper;
use super::super::{
    L1Operation, Update, drain, emulated_write, in_stretches, pin_table, unpin_table, write_entry,
};
use super::{FREE, Hv};
use crate::mm::PageType;
use crate::num::{CpuId, Mfn, Pfn};
use crate::outcome::{Budget, Stop};
use crate::sim::{PvGuest, SimConfig, on_cpu, world, world_with};

const PAGES: u64 = 6;
const ROUNDS: u32 = 20_000;

/// A generator good enough to mix operations (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn play(hv: &Hv, guest: &PvGuest, dice: &mut Dice) {
    let page = |dice: &mut Dice| guest.mfn(Pfn(FREE + dice.roll(PAGES)));
    let entry = |dice: &mut Dice, mfn: Mfn| {
        mfn.addr() | [0, PRESENT, PRESENT | USER, PRESENT | USER | RW][dice.roll(4) as usize]
    };
    for _ in 0..ROUNDS {
        let mfn = page(dice);
        let kind = PageType::table(dice.roll(4) as u32 + 1);
        match dice.roll(8) {
            0 | 1 => {
                let _ = in_stretches(hv, |budget| pin_table(hv, &guest.domain, mfn, kind, budget));
            }
            2 => {
                let _ = pin_table(
                    hv,
                    &guest.domain,
                    mfn,
                    kind,
                    &mut Budget::new(dice.roll(900) as u32 + 1),
                );
            }
            3 | 4 => {
                let _ = unpin_table(hv, &guest.domain, mfn);
            }
            5 => {
                let _ = drain(
                    hv,
                    &guest.domain.pages,
                    &mut Budget::new(dice.roll(300) as u32 + 1),
                );
            }
            6 => {
                let target = page(dice);
                let operation = L1Operation::Store(entry(dice, target));
                let _ = emulated_write(hv, &guest.domain, mfn, dice.roll(3) as usize, operation);
            }
            _ => {
                let target = page(dice);
                let update = Update {
                    address: mfn.addr() + dice.roll(3) * 8,
                    value: entry(dice, target),
                    page_owner: DomId(1),
                    preserve_ad: false,
                };
                let _ = in_stretches(hv, |budget| write_entry(hv, &guest.domain, update, budget));
            }
        }
    }
}

#[test]
fn two_processors_keep_the_books_true() {
    let hv = world_with(SimConfig {
        frames: 160,
        reserved: 16,
        cpus: 2,
    });
    let mut guest = PvGuest::unprivileged(&hv, 1, 40);
    for pfn in (FREE..FREE + PAGES).map(Pfn) {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    }
    for round in 1..=4u64 {
        let (hv, guest) = (&hv, &guest);
        std::thread::scope(|scope| {
            for cpu in 0..2u32 {
                let mut dice =
                    Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(cpu) << 32 | 1);
                scope.spawn(move || on_cpu(CpuId(cpu), || play(hv, guest, &mut dice)));
            }
        });
        guest.audit(hv);
        in_stretches(hv, |budget| drain(hv, &guest.domain.pages, budget)).unwrap();
        guest.audit(hv);
    }
}

/// A processor that began to change an entry of an L2 table goes on after another one has demoted the table. The entry
/// names the table itself, which by then could become what the entry asks for.
#[test]
fn an_entry_that_names_its_own_table_takes_no_reference() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 1, 40);
    let table = guest.mfn(Pfn(FREE));
    let value = table.addr() | PRESENT | USER;
    let taken = get_upper(
        &hv,
        &guest.domain,
        table,
        2,
        value,
        &mut Budget::unlimited(),
    );
    assert_eq!(taken, Err(Stop::Fail(Errno::EINVAL)));
    guest.audit(&hv);
}
