// The first instructions of a PV kernel, and the notes by which the domain builder finds them (public/elfnote.h).
// In: RSI = virtual address of start_info, RSP = end of the boot stack (one page), everything else zero.

.macro note type
    .balign 4
    .long 4
    .long 9f - 8f
    .long \type
    .asciz "Xen"
8:
.endm
.macro note_end
9:
    .balign 4
.endm

.section .note.Xen, "a", @note
note {guest_os}
    .asciz "xenolith-pv"
note_end
note {loader}
    .asciz "generic"
note_end
note {xen_version}
    .asciz "xen-3.0"
note_end
note {virt_base}
    .quad {base}
note_end
note {paddr_offset}
    .quad {base}
note_end
note {entry}
    .quad pv_start
note_end
note {pae_mode}
    .asciz "yes"
note_end
note {hypercall_page}
    .quad pv_hypercall_page
note_end

.section .text.start, "ax"
.globl pv_start
pv_start:
    cld
    movq %rsi, %rdi
    leaq pv_stack_end(%rip), %rsp
    xorl %ebp, %ebp
    callq pv_main
    ud2

.section .text.hypercall_page, "ax"
.balign 4096
.globl pv_hypercall_page
pv_hypercall_page:
    .skip 4096

.section .bss.stack, "aw", @nobits
.balign 16
    .skip {stack_size}
pv_stack_end:
