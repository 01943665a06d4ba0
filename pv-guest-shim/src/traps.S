// How a PV kernel is entered, and how it leaves again (public/arch-x86/xen-x86_64.h).
// The hypervisor pushes SS, RSP, RFLAGS, CS, RIP, an error code for some vectors, R11 and RCX, and jumps here.

.section .text.traps, "ax"

// Vectors 0 to 255: one stub each, {stub_size} bytes apart.
.balign {stub_size}
.globl pv_trap_stubs
pv_trap_stubs:
.set vector, 0
.rept 256
    .balign {stub_size}
    popq %rcx
    popq %r11
    .set pushed, 0
    .if vector < 32
        .set pushed, ({error_code_vectors} >> vector) & 1
    .endif
    .if pushed == 0
        pushq $0
    .endif
    pushq $vector
    jmp pv_trap_common
    .set vector, vector + 1
.endr

.macro callback name number
    .balign 16
    .globl \name
\name:
    popq %rcx
    popq %r11
    pushq $0
    pushq $\number
    jmp pv_trap_common
.endm

callback pv_event_callback {event}
callback pv_syscall_callback {syscall}
callback pv_sysenter_callback {sysenter}
callback pv_syscall32_callback {syscall32}
callback pv_nmi_callback 2

// Between R11 and RIP lie the selectors that could not be loaded.
.balign 16
.globl pv_failsafe_callback
pv_failsafe_callback:
    popq %rcx
    popq %r11
    popq pv_failsafe_selectors(%rip)
    popq pv_failsafe_selectors+8(%rip)
    popq pv_failsafe_selectors+16(%rip)
    popq pv_failsafe_selectors+24(%rip)
    pushq $0
    pushq ${failsafe}

pv_trap_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    popq %rsi
    cld
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    callq pv_trap_dispatch
    movq %rbp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp          // vector and error code
    pushq $0                // flags: restore everything
    pushq %rcx
    pushq %r11
    pushq %rax
    movl ${iret}, %eax
    syscall
    ud2

.macro attempt_begin
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rsi
    pushq pv_recovery_rsp(%rip)
    movq %rsp, pv_recovery_rsp(%rip)
.endm

// From the structure at RAX; RAX itself last.
.macro load_registers
    movq 8(%rax), %rbx
    movq 16(%rax), %rcx
    movq 24(%rax), %rdx
    movq 32(%rax), %rsi
    movq 40(%rax), %rdi
    movq 48(%rax), %rbp
    movq 56(%rax), %r8
    movq 64(%rax), %r9
    movq 72(%rax), %r10
    movq 80(%rax), %r11
    movq 88(%rax), %r12
    movq 96(%rax), %r13
    movq 104(%rax), %r14
    movq 112(%rax), %r15
    movq (%rax), %rax
.endm

// extern "C" fn(code: RDI, registers: RSI) -> u64: calls code with the registers and stores them when it returns.
// 0 if it returned, 1 if a trap brought it to pv_recover.
.balign 16
.globl pv_attempt_call
pv_attempt_call:
    attempt_begin
    movq %rdi, pv_attempt_target(%rip)
    movq %rsi, %rax
    load_registers
    callq *pv_attempt_target(%rip)
    movq %rax, pv_attempt_target(%rip)
    pushfq
    cld
    movq 16(%rsp), %rax
    popq 120(%rax)
    movq %rbx, 8(%rax)
    movq %rcx, 16(%rax)
    movq %rdx, 24(%rax)
    movq %rsi, 32(%rax)
    movq %rdi, 40(%rax)
    movq %rbp, 48(%rax)
    movq %r8, 56(%rax)
    movq %r9, 64(%rax)
    movq %r10, 72(%rax)
    movq %r11, 80(%rax)
    movq %r12, 88(%rax)
    movq %r13, 96(%rax)
    movq %r14, 104(%rax)
    movq %r15, 112(%rax)
    movq pv_attempt_target(%rip), %rcx
    movq %rcx, (%rax)
    xorl %eax, %eax
pv_attempt_out:
    popq pv_recovery_rsp(%rip)
    popq %rsi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    retq

// Where a trap inside an attempt continues, with RSP from pv_recovery_rsp.
.globl pv_recover
pv_recover:
    cld
    movl $1, %eax
    jmp pv_attempt_out

// extern "C" fn(context: RDI, registers: RSI) -> u64: goes to context by HYPERVISOR_iret with the registers.
.balign 16
.globl pv_attempt_iret
pv_attempt_iret:
    attempt_begin
    pushq 64(%rdi)          // SS
    pushq 56(%rdi)          // RSP
    pushq 48(%rdi)          // RFLAGS
    pushq 40(%rdi)          // CS
    pushq 32(%rdi)          // RIP
    pushq 24(%rdi)          // flags
    pushq 16(%rdi)          // RCX
    pushq 8(%rdi)           // R11
    pushq (%rdi)            // RAX
    movq %rsi, %rax
    load_registers
    movl ${iret}, %eax
    syscall
    ud2

.section .bss.traps, "aw", @nobits
.balign 16
.globl pv_recovery_rsp
pv_recovery_rsp:
    .skip 8
pv_attempt_target:
    .skip 8
.globl pv_failsafe_selectors
pv_failsafe_selectors:
    .skip 32
.balign 16
    .skip {stack_size}
.globl pv_trap_stack_end
pv_trap_stack_end:
