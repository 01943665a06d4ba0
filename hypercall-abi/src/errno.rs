//! `errno.h`: the error numbers of the contract. A hypercall answers with the negated number.

use crate::layout::Constant;

macro_rules! errnos {
    ($( $(#[$meta:meta])* $name:ident = $value:literal ),* $(,)?; aliases: $( $(#[$alias_meta:meta])* $alias:ident = $of:ident ),* $(,)?) => {
        /// An error number of the contract (`XEN_E*`).
        #[allow(clippy::upper_case_acronyms)]
        #[doc(alias = "xen_errno")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Errno {
            $( $(#[$meta])* #[doc = concat!("\n\n`XEN_", stringify!($name), "`")] $name = $value, )*
        }

        impl Errno {
            $( $(#[$alias_meta])* pub const $alias: Self = Self::$of; )*

            /// The error with this positive number; `None` if the contract has none.
            #[must_use]
            pub const fn from_raw(number: i32) -> Option<Self> {
                match number {
                    $( $value => Some(Self::$name), )*
                    _ => None,
                }
            }
        }

        const CONSTANTS: &[Constant] = &[
            $( Constant { c_name: concat!("XEN_", stringify!($name)), value: $value }, )*
            $( Constant { c_name: concat!("XEN_", stringify!($alias)), value: Errno::$alias as i128 }, )*
        ];
    };
}

errnos! {
    /// Operation not permitted.
    EPERM = 1,
    /// No such file or directory.
    ENOENT = 2,
    /// No such process; Xen: no such domain.
    ESRCH = 3,
    /// Interrupted. Used inside the hypervisor only.
    EINTR = 4,
    /// I/O error.
    EIO = 5,
    /// No such device or address.
    ENXIO = 6,
    /// Argument list too long.
    E2BIG = 7,
    /// Executable format error.
    ENOEXEC = 8,
    /// Bad file number.
    EBADF = 9,
    /// No child processes.
    ECHILD = 10,
    /// Try again.
    EAGAIN = 11,
    /// Out of memory.
    ENOMEM = 12,
    /// Permission denied.
    EACCES = 13,
    /// Bad address: a guest handle could not be read or written.
    EFAULT = 14,
    /// Device or resource busy.
    EBUSY = 16,
    /// Already exists.
    EEXIST = 17,
    /// Cross-device link.
    EXDEV = 18,
    /// No such device.
    ENODEV = 19,
    /// Not a directory.
    ENOTDIR = 20,
    /// Is a directory.
    EISDIR = 21,
    /// Invalid argument.
    EINVAL = 22,
    /// Table overflow.
    ENFILE = 23,
    /// Too many open.
    EMFILE = 24,
    /// No space left; Xen: no free port, identifier or slot.
    ENOSPC = 28,
    /// Read-only.
    EROFS = 30,
    /// Too many links.
    EMLINK = 31,
    /// Argument out of the function's domain.
    EDOM = 33,
    /// Result out of range.
    ERANGE = 34,
    /// Would deadlock.
    EDEADLK = 35,
    /// Name too long.
    ENAMETOOLONG = 36,
    /// No locks available.
    ENOLCK = 37,
    /// Not implemented: unknown hypercall or sub-operation.
    ENOSYS = 38,
    /// Not empty.
    ENOTEMPTY = 39,
    /// No data available.
    ENODATA = 61,
    /// Timer expired.
    ETIME = 62,
    /// Bad message.
    EBADMSG = 74,
    /// Value too large.
    EOVERFLOW = 75,
    /// Illegal byte sequence.
    EILSEQ = 84,
    /// Preempted, to be restarted. Used inside the hypervisor only; a guest never sees it.
    ERESTART = 85,
    /// Not a socket.
    ENOTSOCK = 88,
    /// Message too long.
    EMSGSIZE = 90,
    /// Operation not supported.
    EOPNOTSUPP = 95,
    /// Address in use.
    EADDRINUSE = 98,
    /// Address not available.
    EADDRNOTAVAIL = 99,
    /// No buffer space.
    ENOBUFS = 105,
    /// Already connected.
    EISCONN = 106,
    /// Not connected.
    ENOTCONN = 107,
    /// Timed out.
    ETIMEDOUT = 110,
    /// Connection refused.
    ECONNREFUSED = 111;
    aliases:
    /// Would block; the number of [`Errno::EAGAIN`].
    EWOULDBLOCK = EAGAIN,
    /// Would deadlock; the number of [`Errno::EDEADLK`].
    EDEADLOCK = EDEADLK,
}

impl Errno {
    /// What a hypercall that failed so returns in its result register: the negated number.
    #[must_use]
    pub const fn to_ret(self) -> i64 {
        -(self as i32 as i64)
    }
}

layout_entries! { types: [], constants: [CONSTANTS] }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_register_holds_the_negated_number() {
        assert_eq!(Errno::ENOSYS.to_ret(), -38);
        assert_eq!(Errno::from_raw(38), Some(Errno::ENOSYS));
        assert_eq!(Errno::from_raw(0), None);
        assert_eq!(Errno::EWOULDBLOCK, Errno::EAGAIN);
    }
}
