// SPDX-License-Identifier: MIT
using System.Globalization;
using BenchmarkDotNet.Running;
using Fleece.Benchmarks;

if (args is [NotesComparison.Verb, .. var rest])
{
    await NotesComparison.RunAsync(rounds: rest is [var rounds] ? int.Parse(rounds, CultureInfo.InvariantCulture) : 15);
    return;
}

if (args is [OrderComparison.Verb])
{
    await OrderComparison.RunAsync();
    return;
}

BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
