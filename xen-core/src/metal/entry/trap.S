// Entries by the interrupt descriptor table (SDM 3A 6.14), and the ways back.
//
// All offsets are the fields of CpuUserRegs (public header arch-x86/xen-x86_64.h), see entry/mod.rs. An entry from
// ring 3 finds itself on the main stack with the frame exactly at the top: the registers it saves become the regs of
// CpuTop.

// Saves the general registers below error code and vector. In: RSP = address of error_code. Out: RSP = address of regs.
.macro save_registers
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    save_registers_after_rax
.endm

.macro save_registers_after_rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
.endm

// A guest's values must not steer speculation in the hypervisor.
.macro clear_registers
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %ebx, %ebx
    xorl %ebp, %ebp
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
.endm

// In: RSP = address of regs. Out: RSP = address of error_code.
.macro restore_registers
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
.endm

// A three-byte NOP that becomes CLAC when SMAP is switched on.
.macro clac_site
8:  nopl (%rax)
.pushsection .clac_sites, "a"
    .quad 8b
.popsection
.endm

.section .text.entry, "ax"

// One stub of 16 bytes for each vector: makes the frame uniform (error code, vector) and joins the common code.
.balign 16
.globl vector_stubs
vector_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    movl $vector, 4(%rsp)
    jmp trap_entry
    .set vector, vector + 1
.endr

// In: RSP = address of error_code.
trap_entry:
    testb $3, ({cs} - {error_code})(%rsp)
    jz trap_from_hypervisor

// In: RSP = address of error_code in CpuTop.regs of this CPU's main stack; guest registers live.
trap_from_guest:
    cld
    clac_site
    save_registers
    clear_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq guest_trap
    addq $8, %rsp

// In: RSP = address of CpuTop.regs. Resumes the guest.
.globl resume_guest
resume_guest:
    cmpl ${entry_syscall}, {entry_vector}(%rsp)
    jne return_by_iret
    // SYSRET is possible for the flat 64-bit segments it loads, and only to a canonical address: else it faults in
    // ring 0 with the guest's stack pointer (XSA-7). It cannot restore RFLAGS.RF.
    movq {rip}(%rsp), %rcx
    sarq $47, %rcx
    addl $1, %ecx
    cmpl $1, %ecx
    ja return_by_iret
    cmpw ${ring3_cs64}, {cs}(%rsp)
    jne return_by_iret
    cmpw ${ring3_ss}, {ss}(%rsp)
    jne return_by_iret
    testl ${rflags_rf}, {rflags}(%rsp)
    jnz return_by_iret
    restore_registers
    movq ({rip} - {error_code})(%rsp), %rcx
    movq ({rflags} - {error_code})(%rsp), %r11
    movq ({rsp} - {error_code})(%rsp), %rsp
    sysretq

return_by_iret:
    restore_registers
    addq $8, %rsp
.globl guest_iret
guest_iret:
    iretq

// Trap while in the hypervisor. In: RSP = address of error_code of a frame somewhere on the current stack.
trap_from_hypervisor:
    cld
    clac_site
    // The last instruction above may fault on what the guest put into the frame: that is the guest's exception.
    pushq %rax
    leaq guest_iret(%rip), %rax
    cmpq %rax, (8 + {rip} - {error_code})(%rsp)
    popq %rax
    je guest_iret_faulted
    save_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq hypervisor_trap
    addq $8, %rsp
    restore_registers
    addq $8, %rsp
    iretq

// IRETQ to the guest faulted: this frame holds the error code and vector, the interrupted stack pointer still points
// to the guest's frame (RIP upwards) in CpuTop.regs, and the guest's registers are live. Moves error code and vector
// in front of the guest's frame, as if the guest itself had trapped.
guest_iret_faulted:
    pushq %rax
    pushq %rcx
    movq (16 + {rsp} - {error_code})(%rsp), %rax
    movq 16(%rsp), %rcx
    // The frame of the fault ends right below the guest's, so this slot may lie in it: nothing of it is needed now.
    movq %rcx, ({error_code} - {rip})(%rax)
    leaq ({error_code} - {rip})(%rax), %rax
    popq %rcx
    xchgq %rax, (%rsp)
    popq %rsp
    jmp trap_from_guest

// Debug exception, on its own stack. From a guest: goes on on the main stack. From the hypervisor: an instruction that
// followed MOV SS (XSA-260), or SYSENTER with TF set (XSA-44): see debug_in_hypervisor.
.globl debug_entry
debug_entry:
    pushq $0
    movl $1, 4(%rsp)
    testb $3, ({cs} - {error_code})(%rsp)
    jnz move_to_main_stack
    cld
    clac_site
    save_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq debug_in_hypervisor
    addq $8, %rsp
    restore_registers
    addq $8, %rsp
    iretq

// In: RSP = address of error_code at the top of an interrupt stack; guest registers live.
move_to_main_stack:
    pushq %rax
    pushq %rcx
    movq (16 + {main_frame_from_error_code})(%rsp), %rax
    .set offset, 0
    .rept 6
    movq (16 + offset)(%rsp), %rcx
    movq %rcx, offset(%rax)
    .set offset, offset + 8
    .endr
    popq %rcx
    xchgq %rax, (%rsp)
    popq %rsp
    jmp trap_from_guest

// Non-maskable interrupt, machine check and double fault: always on their own stacks, to their own functions.
.macro ist_entry name, number, error_code, function
.globl \name
\name:
    .if \error_code
    .else
    pushq $0
    .endif
    movl $\number, 4(%rsp)
    cld
    clac_site
    save_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq \function
    addq $8, %rsp
    restore_registers
    addq $8, %rsp
    iretq
.endm

ist_entry nmi_entry, 2, 0, nmi
ist_entry double_fault_entry, 8, 1, double_fault
ist_entry machine_check_entry, 18, 0, machine_check

// 64-bit SYSCALL, from this CPU's stub (cpu/syscall_msr.rs). In: RSP = end of the frame in CpuTop.regs, RAX = the
// guest's RSP, regs.rax = the guest's RAX, RCX = RIP, R11 = RFLAGS.
.balign 64
.globl syscall64_entry
syscall64_entry:
    pushq ${ring3_ss}
    pushq %rax
    pushq %r11
    pushq ${ring3_cs64}
    pushq %rcx
    pushq $0
    movl ${entry_syscall}, 4(%rsp)
    jmp syscall_common

// SYSCALL from 32-bit code (AMD only). As above.
.globl syscall32_entry
syscall32_entry:
    pushq ${ring3_ss}
    pushq %rax
    pushq %r11
    pushq ${ring3_cs32}
    pushq %rcx
    pushq $0
    movl ${entry_syscall32}, 4(%rsp)
syscall_common:
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    subq $8, %rsp
    save_registers_after_rax
    clear_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq guest_trap
    addq $8, %rsp
    jmp resume_guest

// SYSENTER. In: RSP = end of the frame in CpuTop.regs; the processor keeps nothing of RIP and RSP, and clears of the
// flags only IF, VM and RF: TF, NT, AC and DF are still the guest's (XSA-8, XSA-44).
.globl sysenter_entry
sysenter_entry:
    pushq ${ring3_ss}
    pushq $0
    pushfq
    pushq ${sysenter_cs}
    pushq $0
    pushq $0
    movl ${entry_sysenter}, 4(%rsp)
    pushq $2
    popfq
    save_registers
    clear_registers
    movq %rsp, %rdi
    subq $8, %rsp
    callq guest_trap
    addq $8, %rsp
    jmp resume_guest

// start_guest(RDI = address of CpuTop.regs): first entry into a guest. Does not return: the stack above is given up.
.globl start_guest
start_guest:
    movq %rdi, %rsp
    jmp resume_guest

// run_on_stack(RDI = end of the new stack, RSI = function that does not return): gives up the current stack.
.globl run_on_stack
run_on_stack:
    movq %rdi, %rsp
    xorl %ebp, %ebp
    callq *%rsi
    ud2
