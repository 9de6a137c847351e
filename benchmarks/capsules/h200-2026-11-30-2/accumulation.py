"""How far off one row times a matrix of 8 bits is, as lib/tile.h computes it (before: 16 taken off each
half of a code; now: 272 times the sum of x off the sum), with sums cut to so many bits at each
step of a tensor core, beside MLX's product of weights rounded to bfloat16. Needs numpy."""

import numpy as np
rng=np.random.default_rng(3)
K,N=2048,512
w=rng.standard_normal((N,K))*0.02
def bf(a):
    u=np.ascontiguousarray(a,np.float32).view(np.uint32).astype(np.uint64); r=((u+0x7fff+((u>>16)&1))>>16)<<16
    return r.astype(np.uint32).view(np.float32).astype(np.float64)
g=w.reshape(N,K//64,64); lo=g.min(2); hi=g.max(2); s=bf((hi-lo)/255); b=bf(lo)
code=np.clip(np.rint((g-b[:,:,None])/s[:,:,None]),0,255)
x=bf(rng.standard_normal(K)).reshape(K//64,64)
exact=(code*s[:,:,None]+b[:,:,None])
y=np.einsum('ngk,gk->n',exact,x)
def rz(v,bits):
    m,e=np.frexp(v); return np.ldexp(np.trunc(m*2.0**bits),e-bits)
def mma_sum(terms,bits): # terms [..., steps, 16]
    c=np.zeros(terms.shape[:-2])
    for i in range(terms.shape[-2]): c=rz(c+terms[...,i,:].sum(-1),bits)
    return c
lon=code%16; hin=code//16
for bits in (24,22,20):
    res=[]
    for new in (0,1):
        a,h=(lon+16,hin+16) if new else (lon,hin*16)
        xh=16*x if new else x
        t1=(a*x).reshape(N,K//64,8,8); t2=(h*xh).reshape(N,K//64,8,8)
        c=mma_sum(np.concatenate([t1,t2],-1),bits)
        sx=mma_sum(np.concatenate([x.reshape(K//64,8,8),0*x.reshape(K//64,8,8)],-1),bits) if new else x.sum(1)
        off=272*sx if new else 0
        yy=(s*(c-off)+b*sx).sum(1)
        err=yy-y
        out=bf(yy); best=bf(y)
        res.append((np.sqrt((err**2).mean())/np.sqrt((y**2).mean()), (out!=best).mean(), np.sqrt(((out-y)**2).mean())/np.sqrt((y**2).mean())))
    for name, r in zip(("before", "now"), res):
        print(f"{bits} bits, {name}: off by {r[0]:.1e} of the result's root mean square, {100 * r[1]:.2f} % rounded otherwise, {r[2]:.2e} once rounded to bfloat16")
wm=bf(exact) # MLX: weights rounded to bfloat16
ym=np.einsum('ngk,gk->n',wm,x)
print("MLX weights rounded: before rounding the result", np.sqrt(((ym-y)**2).mean())/np.sqrt((y**2).mean()), "after", np.sqrt(((bf(ym)-y)**2).mean())/np.sqrt((y**2).mean()))
