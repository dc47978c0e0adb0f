"""Control flow and recurrent layers: small graphs, converted in fp32 and fp16, run, and compared with ONNX Runtime.

Loops with trip counts and conditions that are known only when the model runs, what they collect, scans of any length, branches of unequal
shapes, all nested; sequences of different lengths in one batch.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as H

POMONA = os.environ["POMONA_BINARY"]
FOLDER = tempfile.TemporaryDirectory()
HERE = pathlib.Path(FOLDER.name)
failed = 0


def vi(name, dtype, shape):
    return H.make_tensor_value_info(name, dtype, shape)


def pomona(*words):
    done = subprocess.run([POMONA, *map(str, words), "--force", "--quiet"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def check(name, graph, feeds, opset=21):
    global failed
    onnx.save(H.make_model(graph, opset_imports=[H.make_opsetid("", opset)], ir_version=10), HERE / "m.onnx")
    session = ort.InferenceSession(str(HERE / "m.onnx"), providers=["CPUExecutionProvider"])
    for precision, rtol, atol in (("fp32", 1e-4, 1e-5), ("fp16", 1e-2, 1e-2)):
        problem = pomona("convert", HERE / "m.onnx", "-o", HERE / "m.mlpackage", "--precision", precision, "--no-verify")
        for feed in [] if problem else feeds:
            np.savez(HERE / "in.npz", **feed)
            problem = pomona("run", HERE / "m.mlpackage", "--inputs", HERE / "in.npz", "--outputs", HERE / "out.npz")
            if problem:
                break
            got = np.load(HERE / "out.npz")
            for output, want in zip(session.get_outputs(), session.run(None, feed)):
                answer = got[output.name]
                if answer.shape != want.shape or not np.allclose(answer, want, rtol=rtol, atol=atol):
                    problem = f"{output.name} differs"
        if problem:
            failed += 1
            print(f"{name}, {precision}: {problem}")


f32=np.float32
# 1 loop with unknown trip, scan outputs, capture
body=H.make_graph([H.make_node('Add',['s_in','x'],['s_out']),H.make_node('Identity',['c_in'],['c_out']),H.make_node('Mul',['s_out','s_out'],['sq']),H.make_node('Cast',['i'],['fi'],to=1)],'b',
 [vi('i',T.INT64,[]),vi('c_in',T.BOOL,[]),vi('s_in',T.FLOAT,[3])],[vi('c_out',T.BOOL,[]),vi('s_out',T.FLOAT,[3]),vi('sq',T.FLOAT,[3]),vi('fi',T.FLOAT,[])])
g=H.make_graph([H.make_node('Loop',['n','','s0'],['s','all','is'],body=body)],'g',[vi('n',T.INT64,[]),vi('s0',T.FLOAT,[3]),vi('x',T.FLOAT,[3])],[vi('s',T.FLOAT,[3]),vi('all',T.FLOAT,['k',3]),vi('is',T.FLOAT,['k'])])
check('loop-scan',g,[{'n':np.array(4),'s0':np.ones(3,f32),'x':np.array([1,2,3],f32)},{'n':np.array(1),'s0':np.ones(3,f32),'x':np.array([1,2,3],f32)}])
# 2 loop with cond and growing state
body=H.make_graph([H.make_node('Concat',['s_in','x'],['s_out'],axis=0),H.make_node('Shape',['s_out'],['sh']),H.make_node('ReduceSum',['s_out'],['rs'],keepdims=0),H.make_node('Constant',[],['lim'],value_float=20.0),H.make_node('Less',['rs','lim'],['c_out'])],'b',
 [vi('i',T.INT64,[]),vi('c_in',T.BOOL,[]),vi('s_in',T.FLOAT,['d'])],[vi('c_out',T.BOOL,[]),vi('s_out',T.FLOAT,['e'])])
g=H.make_graph([H.make_node('Loop',['','c0','s0'],['s'],body=body)],'g',[vi('c0',T.BOOL,[]),vi('s0',T.FLOAT,[2]),vi('x',T.FLOAT,[3])],[vi('s',T.FLOAT,['z'])])
check('loop-grow',g,[{'c0':np.array(True),'s0':np.ones(2,f32),'x':np.array([1,2,3],f32)}])
# 3 scan dynamic
body=H.make_graph([H.make_node('Add',['s_in','e'],['s_out']),H.make_node('Identity',['s_out'],['o'])],'b',[vi('s_in',T.FLOAT,[2]),vi('e',T.FLOAT,[2])],[vi('s_out',T.FLOAT,[2]),vi('o',T.FLOAT,[2])])
for kw in ({},{'scan_input_directions':[1],'scan_output_directions':[1],'scan_output_axes':[1]}):
    g=H.make_graph([H.make_node('Scan',['s0','x'],['s','all'],body=body,num_scan_inputs=1,**kw)],'g',[vi('s0',T.FLOAT,[2]),vi('x',T.FLOAT,['t',2])],[vi('s',T.FLOAT,[2]),vi('all',T.FLOAT,None)])
    check('scan-dyn',g,[{'s0':np.zeros(2,f32),'x':np.arange(10,dtype=f32).reshape(5,2)}])
# 4 if with unequal static shapes, nested capture
A=H.make_graph([H.make_node('Concat',['x','x'],['ta'],axis=0)],'a',[],[vi('ta',T.FLOAT,[6])])
Bb=H.make_graph([H.make_node('Neg',['x'],['tb'])],'bb',[],[vi('tb',T.FLOAT,[3])])
g=H.make_graph([H.make_node('If',['c'],['y'],then_branch=A,else_branch=Bb),H.make_node('Mul',['y','y'],['z'])],'g',[vi('c',T.BOOL,[]),vi('x',T.FLOAT,[3])],[vi('y',T.FLOAT,['n']),vi('z',T.FLOAT,['n'])])
check('if-shapes',g,[{'c':np.array(True),'x':np.array([1,2,3],f32)},{'c':np.array(False),'x':np.array([1,2,3],f32)}])
# 5 nested loop in if in loop
inner=H.make_graph([H.make_node('Add',['a_in','s_in'],['a_out']),H.make_node('Identity',['c2'],['c2o'])],'i',[vi('j',T.INT64,[]),vi('c2',T.BOOL,[]),vi('a_in',T.FLOAT,[3])],[vi('c2o',T.BOOL,[]),vi('a_out',T.FLOAT,[3])])
tb=H.make_graph([H.make_node('Loop',['m','','s_in'],['lo'],body=inner)],'t',[],[vi('lo',T.FLOAT,[3])])
eb=H.make_graph([H.make_node('Mul',['s_in','x'],['le'])],'e',[],[vi('le',T.FLOAT,[3])])
body=H.make_graph([H.make_node('Constant',[],['two'],value_int=2),H.make_node('Mod',['i','two'],['md']),H.make_node('Cast',['md'],['odd'],to=9),H.make_node('If',['odd'],['s_out'],then_branch=tb,else_branch=eb),H.make_node('Identity',['c_in'],['c_out'])],'b',[vi('i',T.INT64,[]),vi('c_in',T.BOOL,[]),vi('s_in',T.FLOAT,[3])],[vi('c_out',T.BOOL,[]),vi('s_out',T.FLOAT,[3])])
g=H.make_graph([H.make_node('Loop',['n','','s0'],['s'],body=body)],'g',[vi('n',T.INT64,[]),vi('m',T.INT64,[]),vi('s0',T.FLOAT,[3]),vi('x',T.FLOAT,[3])],[vi('s',T.FLOAT,[3])])
check('nested',g,[{'n':np.array(3),'m':np.array(2),'s0':np.ones(3,f32),'x':np.array([1,2,.5],f32)}])
# 6 lstm dynamic steps non-exact (clip), sequence_lens
I,Hs=3,4; r=np.random.default_rng(0)
W=r.normal(size=(1,4*Hs,I)).astype(f32);R=r.normal(size=(1,4*Hs,Hs)).astype(f32);Bs=r.normal(size=(1,8*Hs)).astype(f32)
init=[onnx.numpy_helper.from_array(W,'W'),onnx.numpy_helper.from_array(R,'R'),onnx.numpy_helper.from_array(Bs,'B')]
for kw,ins,extra in (({'clip':0.5},['x','W','R','B'],{}),({},['x','W','R','B','lens'],{'lens':np.array([5,3],np.int32)}),({'clip':.5},['x','W','R','B','lens'],{'lens':np.array([5,3],np.int32)})):
  for d in ('forward','reverse'):
    g=H.make_graph([H.make_node('LSTM',ins,['y','h','c'],hidden_size=Hs,direction=d,**kw)],'g',[vi('x',T.FLOAT,['t',2,I])]+([vi('lens',T.INT32,[2])] if extra else []),[vi('y',T.FLOAT,None),vi('h',T.FLOAT,None),vi('c',T.FLOAT,None)],init)
    check('lstm %s %s %s'%(kw,d,bool(extra)),g,[{'x':r.normal(size=(5,2,I)).astype(f32),**extra}])
for op,gates in (('GRU',3),('RNN',1)):
  W=r.normal(size=(1,gates*Hs,I)).astype(f32);R=r.normal(size=(1,gates*Hs,Hs)).astype(f32);Bs=r.normal(size=(1,2*gates*Hs)).astype(f32)
  init=[onnx.numpy_helper.from_array(W,'W'),onnx.numpy_helper.from_array(R,'R'),onnx.numpy_helper.from_array(Bs,'B')]
  for kw in ({'clip':.5},{}) + (({'linear_before_reset':1,'clip':.6},) if op=='GRU' else ({'activations':['Softsign']},)):
    g=H.make_graph([H.make_node(op,['x','W','R','B','lens'],['y','h'],hidden_size=Hs,direction='reverse',**kw)],'g',[vi('x',T.FLOAT,['t',2,I]),vi('lens',T.INT32,[2])],[vi('y',T.FLOAT,None),vi('h',T.FLOAT,None)],init)
    check('%s %s'%(op,kw),g,[{'x':r.normal(size=(5,2,I)).astype(f32),'lens':np.array([5,3],np.int32)}])

print(f"{failed} failed")
sys.exit(1 if failed else 0)
