"""All benchmarks, one after the other: `make bench`."""

from bench import pictures, predict, quick, startup

quick.main()
predict.main(quick.trained())
startup.main()
pictures.main()
