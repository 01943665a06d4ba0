// Entering and leaving a guest (APM volume 2, 15.5).
//
// svm_enter(RDI = registers of the guest, as CpuUserRegs, RSI = physical address of its control block, RDX = physical
// address of the block with the hypervisor's own VMLOAD state). Interrupts are off before and after.
.section .text
.balign 16
.globl svm_enter
svm_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdx
    pushq %rdi
    movq %rsi, %rax
    // No interrupt is taken until the guest runs, where one ends the run.
    clgi
    sti
    vmload %rax
    movq {r15}(%rdi), %r15
    movq {r14}(%rdi), %r14
    movq {r13}(%rdi), %r13
    movq {r12}(%rdi), %r12
    movq {rbp}(%rdi), %rbp
    movq {rbx}(%rdi), %rbx
    movq {r11}(%rdi), %r11
    movq {r10}(%rdi), %r10
    movq {r9}(%rdi), %r9
    movq {r8}(%rdi), %r8
    movq {rcx}(%rdi), %rcx
    movq {rdx}(%rdi), %rdx
    movq {rsi}(%rdi), %rsi
    movq {rdi}(%rdi), %rdi
    vmrun %rax
    // RAX and RSP are the hypervisor's again.
    vmsave %rax
    pushq %rdi
    movq 8(%rsp), %rdi
    movq %r15, {r15}(%rdi)
    movq %r14, {r14}(%rdi)
    movq %r13, {r13}(%rdi)
    movq %r12, {r12}(%rdi)
    movq %rbp, {rbp}(%rdi)
    movq %rbx, {rbx}(%rdi)
    movq %r11, {r11}(%rdi)
    movq %r10, {r10}(%rdi)
    movq %r9, {r9}(%rdi)
    movq %r8, {r8}(%rdi)
    movq %rcx, {rcx}(%rdi)
    movq %rdx, {rdx}(%rdi)
    movq %rsi, {rsi}(%rdi)
    popq %rax
    movq %rax, {rdi}(%rdi)
    // A guest's values must not steer speculation in the hypervisor.
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    addq $8, %rsp
    popq %rax
    // Task register, FS, GS and the system-call registers are the hypervisor's again.
    vmload %rax
    cli
    stgi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    xorl %eax, %eax
    xorl %edi, %edi
    retq
