// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Qemu.Guard;

/// <summary>The process that stands by while a guest is frozen or paused, and ends both when the process that asked for it dies.</summary>
/// <remarks>For Fleece's own use: it obeys the lines of JSON on standard input, and answers on standard output.</remarks>
public static partial class GuardProcess
{
    private static readonly PosixSignal[] Survived = [PosixSignal.SIGINT, PosixSignal.SIGHUP, PosixSignal.SIGTERM, PosixSignal.SIGQUIT];

    /// <summary>Does the work of a guard until it is done.</summary>
    /// <returns>A task that ends when the guest is neither frozen nor paused by the process that asked for it.</returns>
    public static async Task RunAsync()
    {
        DeadOwner owner = new();

        // The keys of a terminal reach all processes of its session. Ctrl+C would end the guard, and Ctrl+Z stop it, with the guest frozen.
        if (!OperatingSystem.IsWindows())
        {
            _ = StartSession();
        }

        PosixSignalRegistration[] survivals =
            [.. Survived.Select(signal => PosixSignalRegistration.Create(signal, context => context.Cancel = true))];
        try
        {
            using StreamReader words = new(Console.OpenStandardInput());
            StreamWriter answers = new(Console.OpenStandardOutput());
            using GuardDuty duty = new(words, answers, owner.RemoveSessionAsync);
            await duty.RunAsync().ConfigureAwait(false);
        }
        finally
        {
            Array.ForEach(survivals, survival => survival.Dispose());
        }
    }

    // setsid(2). It fails for the leader of a process group, which no process is that .NET has just started.
    [LibraryImport("libc", EntryPoint = "setsid")]
    private static partial int StartSession();
}
