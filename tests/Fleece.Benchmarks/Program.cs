// SPDX-License-Identifier: MIT
using System.Globalization;
using BenchmarkDotNet.Running;
using Fleece.Benchmarks;

if (args is [NotesComparison.Verb, .. var rest])
{
    await NotesComparison.RunAsync(rounds: rest is [var rounds] ? int.Parse(rounds, CultureInfo.InvariantCulture) : 15);
    return;
}

BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
