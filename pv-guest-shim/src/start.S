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
    // What the builder set, for pv_initial_state.
    movq %rax, pv_initial_state(%rip)
    movq %rbx, pv_initial_state+8(%rip)
    movq %rcx, pv_initial_state+16(%rip)
    movq %rdx, pv_initial_state+24(%rip)
    movq %rsi, pv_initial_state+32(%rip)
    movq %rdi, pv_initial_state+40(%rip)
    movq %rbp, pv_initial_state+48(%rip)
    movq %r8, pv_initial_state+56(%rip)
    movq %r9, pv_initial_state+64(%rip)
    movq %r10, pv_initial_state+72(%rip)
    movq %r11, pv_initial_state+80(%rip)
    movq %r12, pv_initial_state+88(%rip)
    movq %r13, pv_initial_state+96(%rip)
    movq %r14, pv_initial_state+104(%rip)
    movq %r15, pv_initial_state+112(%rip)
    movq %rsp, pv_initial_state+128(%rip)
    pushfq
    popq pv_initial_state+120(%rip)
    movw %cs, pv_initial_state+136(%rip)
    movw %ss, pv_initial_state+138(%rip)
    movw %ds, pv_initial_state+140(%rip)
    movw %es, pv_initial_state+142(%rip)
    movw %fs, pv_initial_state+144(%rip)
    movw %gs, pv_initial_state+146(%rip)
    fnstcw pv_initial_state+148(%rip)
    fnstsw pv_initial_state+150(%rip)
    stmxcsr pv_initial_state+152(%rip)
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
.globl pv_initial_state
pv_initial_state:
    .skip 160
    .skip {stack_size}
pv_stack_end:
