import pandas as pd, numpy as np
def signature(p): return bytes(4)
def duplicate_groups(sha, sig):
    s=pd.Series(sha); m=s.duplicated(keep=False)&s.ne(""); out=np.full(len(s),-1)
    out[m.to_numpy()]=pd.factorize(s[m])[0]; return out
def duplicate_table(t):
    return pd.DataFrame([{"kind":"same bytes","files":tuple(g["file"]),"labels":tuple(sorted(set(map(str,g["label"])))),"conflict":False} for _,g in t[t.duplicate_group>=0].groupby("duplicate_group")])
