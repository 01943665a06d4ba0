//! Writes small static ELF files, so that test programs and test kernels need no assembler or linker.

/// The machine of an ELF file (`e_machine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 80386, in a 32-bit file.
    I386,
    /// x86-64, in a 64-bit file.
    X86_64,
    /// AArch64, in a 64-bit file: a kernel for another computer.
    Aarch64,
}

impl Machine {
    fn code(self) -> u16 {
        match self {
            Self::I386 => 3,
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }

    fn is_64(self) -> bool {
        self != Self::I386
    }
}

/// One ELF note.
pub struct Note {
    /// The owner, `Xen` for what a PV kernel says.
    pub owner: &'static str,
    /// The number of the note.
    pub kind: u32,
    /// What it says.
    pub value: Vec<u8>,
}

/// An executable of one segment: code and data together, readable, writable and executable.
pub struct Executable {
    /// What it runs on.
    pub machine: Machine,
    /// Virtual address of the first byte of [`Self::image`].
    pub vaddr: u64,
    /// Physical address of the same byte.
    pub paddr: u64,
    /// Virtual address of the first instruction.
    pub entry: u64,
    /// Code and data.
    pub image: Vec<u8>,
    /// Bytes of zeroes after the image.
    pub bss: u64,
    /// Notes, in a segment of their own that is not loaded.
    pub notes: Vec<Note>,
}

const PAGE: u64 = 4096;

impl Executable {
    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let notes = self.note_bytes();
        let offset = PAGE + self.vaddr % PAGE;
        let size = self.image.len() as u64;
        let notes_at = (offset + size).next_multiple_of(4);
        let mut out = Writer {
            bytes: Vec::new(),
            wide: self.machine.is_64(),
        };

        let stack = self.machine == Machine::I386;
        out.header(self, 1 + u16::from(!notes.is_empty()) + u16::from(stack));
        let load = Segment {
            kind: 1,
            flags: 7,
            offset,
            vaddr: self.vaddr,
            paddr: self.paddr,
            size,
            bss: self.bss,
            align: PAGE,
        };
        out.segment(&load);
        if !notes.is_empty() {
            let size = notes.len() as u64;
            out.segment(&Segment {
                kind: 4,
                flags: 4,
                offset: notes_at,
                vaddr: 0,
                paddr: 0,
                size,
                bss: 0,
                align: 4,
            });
        }
        if stack {
            // PT_GNU_STACK: Linux gives the program a stack without execute permission.
            let (kind, flags) = (0x6474_e551, 6);
            out.segment(&Segment {
                kind,
                flags,
                offset: 0,
                vaddr: 0,
                paddr: 0,
                size: 0,
                bss: 0,
                align: 16,
            });
        }
        out.bytes.resize(offset as usize, 0);
        out.bytes.extend_from_slice(&self.image);
        out.bytes.resize(notes_at as usize, 0);
        out.bytes.extend_from_slice(&notes);
        out.bytes
    }

    fn note_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let padded = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        for note in &self.notes {
            for field in [
                note.owner.len() as u32 + 1,
                note.value.len() as u32,
                note.kind,
            ] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            bytes.extend_from_slice(note.owner.as_bytes());
            bytes.push(0);
            padded(&mut bytes);
            bytes.extend_from_slice(&note.value);
            padded(&mut bytes);
        }
        bytes
    }
}

struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    size: u64,
    bss: u64,
    align: u64,
}

struct Writer {
    bytes: Vec<u8>,
    wide: bool,
}

impl Writer {
    fn half(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// An address, offset or size: its width is that of the class.
    fn long(&mut self, value: u64) {
        if self.wide {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        } else {
            self.word(u32::try_from(value).expect("a 32-bit file holds 32-bit addresses"));
        }
    }

    fn header(&mut self, file: &Executable, segments: u16) {
        let class = if self.wide { 2 } else { 1 };
        let (header_size, segment_size) = if self.wide { (64, 56) } else { (52, 32) };
        self.bytes.extend_from_slice(&[
            0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        self.half(2);
        self.half(file.machine.code());
        self.word(1);
        self.long(file.entry);
        self.long(u64::from(header_size));
        self.long(0);
        self.word(0);
        for value in [header_size, segment_size, segments, 0, 0, 0] {
            self.half(value);
        }
    }

    fn segment(&mut self, segment: &Segment) {
        self.word(segment.kind);
        if self.wide {
            self.word(segment.flags);
        }
        self.long(segment.offset);
        self.long(segment.vaddr);
        self.long(segment.paddr);
        self.long(segment.size);
        self.long(segment.size + segment.bss);
        if !self.wide {
            self.word(segment.flags);
        }
        self.long(segment.align);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_32_bit_layout_is_that_of_the_specification() {
        let program = Executable {
            machine: Machine::I386,
            vaddr: 0x0804_8000,
            paddr: 0x0804_8000,
            entry: 0x0804_8004,
            image: vec![0x90; 8],
            bss: 16,
            notes: Vec::new(),
        };
        let file = program.file();
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(file.len(), 4096 + 8);
        assert_eq!((word(24), word(28)), (0x0804_8004, 52));
        assert_eq!((word(52), word(56), word(60)), (1, 4096, 0x0804_8000));
        assert_eq!((word(68), word(72), word(76)), (8, 24, 7));
    }

    #[test]
    fn notes_are_padded_to_words() {
        let kernel = Executable {
            machine: Machine::X86_64,
            vaddr: 0x10_0000,
            paddr: 0x10_0000,
            entry: 0x10_0000,
            image: vec![0x90; 3],
            bss: 0,
            notes: vec![Note {
                owner: "Xen",
                kind: 5,
                value: b"xen-3.0\0".to_vec(),
            }],
        };
        let file = kernel.file();
        assert_eq!(
            &file[4100..],
            b"\x04\0\0\0\x08\0\0\0\x05\0\0\0Xen\0xen-3.0\0"
        );
    }
}
