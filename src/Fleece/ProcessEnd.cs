// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Hosting.Host;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Finishes what the module holds when the process ends: by itself, or because the system asks for it.</summary>
/// <remarks>
/// <para>SIGTERM and SIGHUP end a .NET process without any event, so they are registered; on Windows they stand for the shutdown of the
/// system and the closing of the console. SIGINT belongs to PowerShell. When the work is done, or <see cref="Bound"/> has passed, the
/// handler returns and the runtime takes the signal's default action: the parent sees a process that the signal ended. A second signal
/// does so at once, unless it comes within a tenth of a second. A signal that the process was started to ignore (nohup) stays
/// ignored.</para>
/// <para>Threading. All members are safe from any thread. The work runs on threads of its own, never on the pipeline's.</para>
/// </remarks>
#pragma warning disable CA1001 // Lives as long as the process.
internal sealed class ProcessEnd
{
    /// <summary>Longest time that storage or a server which does not answer can hold up the end. systemd kills after 90 s.</summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(75);

    // How long cmdlets get to delete what they have not completed. One in a pipeline that rests elsewhere never comes back.
    private static readonly TimeSpan CommandTime = TimeSpan.FromSeconds(5);

    // From the handler's return to the end of the process; only a process that ignores the signal after all lives longer.
    private static readonly TimeSpan SignalTime = TimeSpan.FromSeconds(5);

    // timeout(1) and others signal a process and then its group: that is one wish, and no sign of impatience.
    private static readonly TimeSpan SameSignalTime = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan MessageTime = TimeSpan.FromSeconds(1);

    private readonly LocalOwner _local;
    private readonly RunningCommands _commands;
    private readonly Func<HostProcess?> _findHost;
    private readonly Lock _lock = new();
    private readonly ManualResetEventSlim _finished = new();
    private PosixSignalRegistration[] _registrations = [];
    private int _signals;
    private long _signalledAt;

    public ProcessEnd(LocalOwner local, RunningCommands commands, Func<HostProcess?> findHost)
    {
        _local = local;
        _commands = commands;
        _findHost = findHost;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => OnExit();
    }

    private IEnumerable<string> Closing => [.. _findHost()?.Owner.Mounted.Closing ?? [], .. _local.Mounted.Closing];

    /// <summary>Takes the signals over. Idempotent.</summary>
    public void Register()
    {
        lock (_lock)
        {
            if (_registrations.Length == 0)
            {
                _registrations =
                [
                    PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal),
                    PosixSignalRegistration.Create(PosixSignal.SIGHUP, OnSignal),
                ];
            }
        }
    }

    /// <summary>Gives the signals back: they end the process as they did before.</summary>
    public void Unregister()
    {
        lock (_lock)
        {
            foreach (PosixSignalRegistration registration in _registrations)
            {
                registration.Dispose();
            }

            _registrations = [];
        }
    }

    // On a thread that the runtime makes for each signal.
    private void OnSignal(PosixSignalContext context)
    {
        if (Interlocked.Increment(ref _signals) == 1)
        {
            _signalledAt = Environment.TickCount64;
            Finish(context.Signal);
        }
        else if (Environment.TickCount64 - _signalledAt < SameSignalTime.TotalMilliseconds)
        {
            _finished.Wait(Bound);
        }
    }

    // A script that the signal has stopped ends the process by itself, and the exit code is still to be the signal's.
    private void OnExit()
    {
        if (Volatile.Read(ref _signals) == 0)
        {
            Finish(null);
            return;
        }

        if (_finished.Wait(Bound))
        {
            Thread.Sleep(SignalTime);
        }
    }

    private void Finish(PosixSignal? signal)
    {
        long startedAt = Environment.TickCount64;
        int running = _commands.Count - (_findHost() is null ? 0 : 1);
        Thread work = new(CloseAll) { IsBackground = true, Name = "Fleece ends" };
        work.Start();
        if (signal is not null && running != 0)
        {
            // A job's log would otherwise end without a word.
            Say($"Fleece got {signal}: {running} Fleece {(running == 1 ? "command is" : "commands are")} stopped before the end, and all " +
                "disks are closed.");
        }

        if (!work.Join(Bound - TimeSpan.FromMilliseconds(Environment.TickCount64 - startedAt)))
        {
            Say($"Fleece could not close {string.Join(", ", Closing.Select(name => $"'{name}'"))} within " +
                $"{Bound.TotalSeconds:0} seconds and ends as if it were killed: the storage, or a server, does not answer.");
        }

        _finished.Set();
    }

    private void CloseAll()
    {
        long startedAt = Environment.TickCount64;
        Try(_commands.Stop);
        if (_findHost() is { } host)
        {
            Try(() => host.StopAsync().GetAwaiter().GetResult());
        }

        // Guests' sessions beside the disks: a QEMU that does not answer keeps none of these open.
        Task guests = _local.DisposeAsync().AsTask();
        Try(() => _local.Mounted.EndAsync().AsTask().GetAwaiter().GetResult());
        Try(guests.Wait);
        _commands.WaitUntilEnded(CommandTime - TimeSpan.FromMilliseconds(Environment.TickCount64 - startedAt));
    }

    // Whatever fails is said, and the rest is done all the same.
    private static void Try(Action step)
    {
        try
        {
            step();
        }
        catch (AggregateException e)
        {
            Say(string.Join(
                Environment.NewLine,
                e.InnerExceptions.Select(cause => PrintableText.Of($"Fleece could not close everything: {cause.Message}"))));
        }
    }

    // The terminal may be gone, and a pipe may be full: neither may hold up the end.
    private static void Say(string text)
    {
        Thread speaker = new(Write) { IsBackground = true };
        speaker.Start();
        speaker.Join(MessageTime);

        void Write()
        {
            try
            {
                Console.Error.WriteLine(text);
            }
            catch (IOException)
            {
                // Nothing is left to tell it to.
            }
        }
    }
}
