use super::Call; use crate::machine::Machine; use crate::outcome::*; use hypercall_abi::GuestHandle;
impl<M:Machine> Call<'_,M>{ pub(super) fn memory_op(&mut self,_:u64,_:GuestHandle<u8>)->HypercallResult{Err(Stop::Fail(hypercall_abi::errno::Errno::ENOSYS))} }
