use super::Call; use crate::machine::Machine; use crate::outcome::*; use hypercall_abi::GuestHandle;
impl<M:Machine> Call<'_,M>{ pub(super) fn grant_table_op(&mut self,_:u32,_:GuestHandle<u8>,_:u32)->HypercallResult{Err(Stop::Fail(hypercall_abi::errno::Errno::ENOSYS))} }
