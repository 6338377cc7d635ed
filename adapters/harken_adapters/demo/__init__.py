"""Demo data: feedback about the agents of Skylark, a travel company that does not exist.

All of it follows from a seed and the time. ``harken demo`` submits two weeks of it; ``harken serve --demo`` fills an
empty storage with two months, see :mod:`harken_adapters.demo.history`.
"""
