//! What the operator sees.

extern crate std;

use std::cell::RefCell;
use std::string::String;
use std::vec::Vec;

use hypercall_abi::xen::DomId;

use super::*;

/// A line that records what is written to it.
#[derive(Default)]
struct Line(RefCell<Vec<u8>>);

impl Line {
    fn write(&self) -> impl Fn(&[u8]) {
        |bytes| self.0.borrow_mut().extend_from_slice(bytes)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

fn ring_text(console: &Console) -> String {
    String::from_utf8(console.read_ring(None, false, usize::MAX).0).unwrap()
}

#[test]
fn own_lines_carry_the_prefix_each() {
    let (console, line) = (Console::default(), Line::default());
    console.print(&line.write(), 0, format_args!("one\ntwo\n"));
    console.print(&line.write(), 0, format_args!("three"));
    assert_eq!(line.text(), "(XEN) one\r\n(XEN) two\r\n(XEN) three\r\n");
    assert_eq!(ring_text(&console), "(XEN) one\n(XEN) two\n(XEN) three\n");
    assert!(console.take_ring_news());
    assert!(!console.take_ring_news());
}

#[test]
fn timestamps_come_after_the_prefix() {
    let settings = ConsoleSettings {
        timestamps: true,
        ..ConsoleSettings::default()
    };
    let (console, line) = (Console::new(settings), Line::default());
    console.print(&line.write(), 12_345_678_999, format_args!("x"));
    assert_eq!(line.text(), "(XEN) [   12.345678] x\r\n");
}

#[test]
fn raw_output_stays_out_of_the_ring_unless_asked_for() {
    let (console, line) = (Console::default(), Line::default());
    console.write_raw(&line.write(), b"login: \n");
    assert_eq!(line.text(), "login: \r\n");
    assert_eq!(ring_text(&console), "");
    assert!(!console.take_ring_news());
    let settings = ConsoleSettings {
        guest_output_to_ring: true,
        ..ConsoleSettings::default()
    };
    let console = Console::new(settings);
    console.write_raw(&line.write(), b"login: \n");
    assert_eq!(ring_text(&console), "login: \n");
    assert!(console.take_ring_news());
}

#[test]
fn a_noisy_guest_is_cut_off_and_the_loss_is_told() {
    let (console, line) = (Console::default(), Line::default());
    let complain = |now_ns| {
        console.print_for_guest(
            &line.write(),
            now_ns,
            Some(DomId(3)),
            Level::Warning,
            format_args!("d3 did it again"),
        );
    };
    for _ in 0..100 {
        complain(0);
    }
    assert_eq!(line.text().matches("did it again").count(), 10);
    complain(600_000_000);
    assert!(
        line.text()
            .contains("(XEN) printk: 90 messages suppressed.\r\n(XEN) d3 did it again")
    );
    console.print_for_guest(
        &line.write(),
        0,
        Some(DomId(4)),
        Level::Info,
        format_args!("quiet"),
    );
    assert!(!line.text().contains("quiet"));
}

#[test]
fn levels_decide_on_records_of_the_facade() {
    use log::Log;

    let own = Thresholds {
        always: Some(Level::Error),
        rate_limited: Some(Level::Error),
    };
    let console = Console::new(ConsoleSettings {
        own,
        ..ConsoleSettings::default()
    });
    console.set_outlet(Outlet {
        write: |_| {},
        now_ns: || 0,
    });
    let record = |level, target, text| {
        let record = log::Record::builder()
            .level(level)
            .target(target)
            .args(text)
            .build();
        console.log(&record);
    };
    record(log::Level::Error, "mm", format_args!("kept"));
    record(log::Level::Warn, "mm", format_args!("dropped"));
    record(log::Level::Warn, GUEST_TARGET, format_args!("guest"));
    record(log::Level::Info, GUEST_TARGET, format_args!("chatter"));
    assert_eq!(ring_text(&console), "(XEN) kept\n(XEN) guest\n");
    let enabled =
        |level| console.enabled(&log::Metadata::builder().level(level).target("mm").build());
    assert!(enabled(log::Level::Error));
    assert!(!enabled(log::Level::Warn));
}

#[test]
fn an_emergency_does_not_wait_for_the_lock() {
    let (console, line) = (Console::default(), Line::default());
    let held = console.shared.output.lock();
    console.start_emergency();
    console.print(&line.write(), 0, format_args!("last words"));
    drop(held);
    assert_eq!(line.text(), "(XEN) last words\r\n");
    assert_eq!(ring_text(&console), "");
}

#[test]
fn other_domains_print_marked_lines_only() {
    let settings = ConsoleSettings {
        guest: Thresholds {
            always: Some(Level::Debug),
            rate_limited: Some(Level::Debug),
        },
        ..ConsoleSettings::default()
    };
    let (console, line) = (Console::new(settings), Line::default());
    console.write_guest_text(&line.write(), 0, DomId(7), b"hel");
    assert_eq!(line.text(), "");
    console.write_guest_text(&line.write(), 0, DomId(7), b"lo\x07\n");
    assert_eq!(line.text(), "(XEN) d7 hello\r\n");
}

#[test]
fn options_become_settings() {
    let options = crate::boot::options::parse(
        "loglvl=all guest_loglvl=none/error conring_size=128k console_to_ring conswitch=bx",
    );
    let settings = ConsoleSettings::from(&options.options);
    assert_eq!(settings.own.always, Some(Level::Debug));
    assert_eq!(
        settings.guest,
        Thresholds {
            always: None,
            rate_limited: Some(Level::Error)
        }
    );
    assert_eq!(settings.ring_bytes, 128 << 10);
    assert!(settings.guest_output_to_ring);
    assert_eq!(settings.switch, Some('b'));
}
