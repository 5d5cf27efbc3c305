"""A volume to small images: the spine traced, sagittal images compiled, the compiled data set kept on disk."""

from cspine.reformat.sagittal import SagittalSet, SagittalSettings, compile_sagittal
from cspine.reformat.spine import SpineCurve, trace_spine
from cspine.reformat.store import CompiledStore

__all__ = ["CompiledStore", "SagittalSet", "SagittalSettings", "SpineCurve", "compile_sagittal", "trace_spine"]
