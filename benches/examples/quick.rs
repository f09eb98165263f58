//! x
#![allow(clippy::all, reason="tmp")]
use pleura_ring::*; use std::sync::Arc; use std::time::Instant;
fn main(){ for log_n in 13..=16u32 { let n=1usize<<log_n; let q=primes_near(29.9,n,1,&[]).unwrap(); let ring=Arc::new(Ring::new(log_n,&q,&[]).unwrap());
 let words: Vec<u32> = (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761) % q[0]).collect();
 let cpu=Cpu::with(ring.clone(),Simd::from_env().unwrap(),1).unwrap();
 let plan = tfhe_ntt::prime32::Plan::try_new(n, q[0]).unwrap();
 let mut y=words.clone();
 let mut x=Some(cpu.upload::<Coeff>(Limbs::q(1),1,&words).unwrap());
 let (mut a,mut b,mut c,mut d)=(f64::MAX,f64::MAX,f64::MAX,f64::MAX);
 let reps = 200000/n+1;
 for _ in 0..200 {
  let t=Instant::now(); for _ in 0..reps { let k=cpu.ntt(x.take().unwrap()); x=Some(Batch::from_buffer(k.into_buffer(),Limbs::q(1),1)); } a=a.min(t.elapsed().as_secs_f64()/reps as f64);
  let t=Instant::now(); for _ in 0..reps { plan.fwd(std::hint::black_box(&mut y)); } b=b.min(t.elapsed().as_secs_f64()/reps as f64);
  let t=Instant::now(); for _ in 0..reps { let k=cpu.intt(Batch::from_buffer(x.take().unwrap().into_buffer(),Limbs::q(1),1)); x=Some(k); } c=c.min(t.elapsed().as_secs_f64()/reps as f64);
  let t=Instant::now(); for _ in 0..reps { plan.inv(std::hint::black_box(&mut y)); } d=d.min(t.elapsed().as_secs_f64()/reps as f64);
 }
 println!("2^{log_n}: fwd {:.2} us, tfhe {:.2}, inv {:.2}, tfhe {:.2}", a*1e6,b*1e6,c*1e6,d*1e6);
}}
