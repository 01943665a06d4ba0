use super::*;

fn options(line: &str) -> Options {
    let parsed = parse(line);
    assert!(parsed.complaints.is_empty(), "{:?}", parsed.complaints);
    parsed.options
}

fn complaint(line: &str) -> Complaint<'_> {
    let parsed = parse(line);
    assert_eq!(parsed.options, Options::default());
    parsed.complaints[0]
}

#[test]
fn empty_line_gives_the_defaults() {
    assert_eq!(options(""), Options::default());
    assert_eq!(options("  \t "), Options::default());
}

#[test]
fn usual_line() {
    let options = options(
        "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=info/all dom0_mem=512M,max:1G noreboot",
    );
    assert_eq!(options.com1.baud, Some(115_200));
    assert_eq!(options.com1.divisor(), Some(1));
    assert_eq!(
        options.consoles,
        Consoles {
            com1: true,
            com2: false,
            vga: false
        }
    );
    assert_eq!(
        options.loglvl,
        LogLevels {
            always: Threshold::Debug,
            rate_limited: Threshold::Debug
        }
    );
    assert_eq!(
        options.guest_loglvl,
        LogLevels {
            always: Threshold::Info,
            rate_limited: Threshold::Debug
        }
    );
    assert_eq!(
        options.dom0_mem.fixed.map(|size| size.resolve(4 << 30)),
        Some(512 << 20)
    );
    assert_eq!(
        options.dom0_mem.max.map(|size| size.resolve(4 << 30)),
        Some(1 << 30)
    );
    assert!(options.noreboot);
}

#[test]
fn serial_port_in_full() {
    let port = options("com1=9600/3686400,7e2,0x2f8,3").com1;
    let expected = ComPort {
        baud: Some(9600),
        clock_hz: 3_686_400,
        data_bits: 7,
        parity: 'e',
        stop_bits: 2,
        io_base: 0x2f8,
        irq: 3,
    };
    assert_eq!(port, expected);
    assert_eq!(port.divisor(), Some(24));
    assert_eq!(
        options("com2=auto,,,0").com2,
        ComPort {
            baud: None,
            irq: 0,
            ..ComPort::second()
        }
    );
    for bad in [
        "com1=",
        "com1=0",
        "com1=x,8n1",
        "com1=9600,9n1",
        "com1=9600,8n1,0x10000",
        "com1=9600,8n1,0x3f8,16",
    ] {
        assert_eq!(complaint(bad), Complaint::BadValue(bad));
    }
}

#[test]
fn booleans() {
    assert!(options("noreboot=yes").noreboot);
    assert!(!options("noreboot noreboot=off").noreboot);
    assert!(!options("no-smap").smap);
    assert!(!options("smep=0").smep);
    assert!(options("pv-linear-pt").pv_linear_pt);
    assert_eq!(complaint("smap=maybe"), Complaint::BadValue("smap=maybe"));
}

#[test]
fn unknown_options_are_named() {
    assert_eq!(
        complaint("frobnicate=3"),
        Complaint::Unknown("frobnicate=3")
    );
    assert_eq!(
        complaint("no-frobnicate"),
        Complaint::Unknown("no-frobnicate")
    );
    let complaints = parse("a b c d e f g h i j k l m n o p q r s t").complaints;
    assert_eq!(complaints.len(), complaints.capacity());
}

#[test]
fn control_domain_memory() {
    let mem = |value: &'static str| Dom0Mem::parse(value);
    let fixed = |value: &'static str, total: u64| mem(value).unwrap().fixed.unwrap().resolve(total);
    assert_eq!(fixed("1024", 1 << 40), 1 << 20);
    assert_eq!(fixed("-256M", 1 << 30), 768 << 20);
    assert_eq!(fixed("-2G", 1 << 30), 0);
    assert_eq!(fixed("50%", 1000), 500);
    assert_eq!(fixed("1M+10%", 100 << 20), 11 << 20);
    let list = mem("min:64M,max:50%").unwrap();
    assert_eq!(list.fixed, None);
    assert_eq!(list.min.unwrap().resolve(0), 64 << 20);
    assert_eq!(list.max.unwrap().resolve(200), 100);
    for bad in ["", "x", "101%", "1M+", "min:", "-", "99999999999T", "+5"] {
        assert_eq!(mem(bad), None, "{bad}");
    }
}

#[test]
fn control_domain_pages() {
    let pages = |value: &'static str, available, default| {
        Dom0Mem::parse(value).unwrap().pages(available, default)
    };
    assert_eq!(Dom0Mem::default().pages(1000, 900), 900);
    assert_eq!(pages("4M", 10_000, 900), 1024);
    assert_eq!(pages("4G", 10_000, 900), 10_000);
    assert_eq!(pages("max:4M", 10_000, 9000), 1024);
    assert_eq!(pages("min:8M", 10_000, 900), 2048);
    assert_eq!(pages("min:8M,max:4M", 10_000, 900), 1024);
    assert_eq!(pages("-4M", 10_000, 900), 10_000 - 1024);
}

#[test]
fn vcpu_counts() {
    let count = |value: &'static str| VcpuCount::parse(value).map(|count| (count.min, count.max));
    assert_eq!(count("2"), Some((2, 2)));
    assert_eq!(count("2-8"), Some((2, 8)));
    assert_eq!(count("-4"), Some((1, 4)));
    assert_eq!(count("3-"), Some((3, u32::MAX)));
    assert_eq!(count("5-4"), None);
    assert_eq!(count("many"), None);
}

#[test]
fn control_domain_part() {
    let all = parse("noreboot -- console=hvc0 quiet");
    assert!(all.options.noreboot);
    assert_eq!(all.dom0_extra, "console=hvc0 quiet");
    assert_eq!(parse("-- single").dom0_extra, "single");
    let none = parse("noreboot --");
    assert!(none.options.noreboot && none.dom0_extra.is_empty());
}

#[test]
fn other_values() {
    let all = options(
        "sched=null reboot=kbd,cold clocksource=tsc nmi=fatal maxcpus=0x10 mem=2G conswitch=bx",
    );
    assert_eq!(all.sched, Scheduler::Null);
    let limits = options("sched_ratelimit_us=2000 sched_credit2_migrate_resist=0");
    assert_eq!(limits.sched_ratelimit_us, Some(2000));
    assert_eq!(limits.sched_credit2_migrate_resist, Some(0));
    assert_eq!(options("sched_ratelimit_us=0").sched_ratelimit_us, Some(0));
    assert_eq!(all.reboot, Some(RebootMethod::Keyboard));
    assert_eq!(all.clocksource, Some(ClockSource::Tsc));
    assert_eq!(all.nmi, NmiPolicy::Fatal);
    assert_eq!(all.maxcpus, Some(16));
    assert_eq!(all.mem, Some(2 << 30));
    assert_eq!((all.conswitch, all.start_in_xen), (Some('b'), true));
    for bad in [
        "sched=fifo",
        "sched_ratelimit_us=50",
        "sched_ratelimit_us=500001",
        "sched_credit2_migrate_resist=x",
        "reboot=x",
        "clocksource=sun",
        "nmi=",
        "maxcpus=-1",
        "mem=0",
        "loglvl=loud",
        "console=tty",
    ] {
        assert_eq!(complaint(bad), Complaint::BadValue(bad));
    }
}

#[test]
fn the_watchdog_is_turned_on_by_its_name_or_its_timeout() {
    let watchdog = |line| {
        let parsed = parse(line);
        assert!(parsed.complaints.is_empty(), "{line}");
        (parsed.options.watchdog, parsed.options.watchdog_timeout)
    };
    assert_eq!(watchdog(""), (false, 5));
    assert_eq!(watchdog("watchdog"), (true, 5));
    assert_eq!(watchdog("watchdog=force"), (true, 5));
    assert_eq!(watchdog("watchdog no-watchdog"), (false, 5));
    assert_eq!(watchdog("watchdog_timeout=7"), (true, 7));
    assert_eq!(watchdog("watchdog watchdog_timeout=0"), (false, 0));
    assert_eq!(parse("irq_ratelimit=0").options.irq_ratelimit, 0);
}
