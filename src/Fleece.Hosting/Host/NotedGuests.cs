// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Hosting.Logging;
using Fleece.Hosting.State;
using Fleece.Qemu;

namespace Fleece.Hosting.Host;

/// <summary>The guests that sessions were started on, noted in the host's state: a host that was killed has left its filters in their
/// QEMUs, and the next one takes them out.</summary>
/// <remarks>
/// <para>A guest stays noted until a host starts and finds nothing of Fleece's in it any more, or no QEMU.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class NotedGuests(HostState state, IGuestControl guests, HostLog log) : IAsyncDisposable
{
    // How long a QEMU that does not answer may hold up the end of the host.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly CancellationTokenSource _ending = new();
    private Task _cleaning = Task.CompletedTask;

    /// <summary>Notes the guests of disks whose sessions are about to start; durable when it returns.</summary>
    /// <exception cref="BlockException">Why it can't be stored.</exception>
    public void Note(IReadOnlyList<DiskReference> disks)
    {
        foreach (string path in disks.Select(disk => disk.QmpSocketPath).OfType<string>().Distinct())
        {
            state.AddQmpSocket(path);
        }
    }

    /// <summary>Begins to take out of the guests of the state what a host before has left in them. It holds up no disk, and the log has how
    /// it went.</summary>
    public void BeginCleanUp() => _cleaning = CleanUpAsync(state.QmpSockets);

    /// <summary>Ends the clean-up where it still runs.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync().ConfigureAwait(false);
        await Task.WhenAny(_cleaning, Task.Delay(Patience)).ConfigureAwait(false);
    }

    private Task CleanUpAsync(IReadOnlyList<string> qmpSocketPaths) => Task.WhenAll(qmpSocketPaths.Select(CleanUpAsync));

    // Never fails: the next command to the guest tries again.
    private async Task CleanUpAsync(string qmpSocketPath)
    {
        try
        {
            IReadOnlyList<string> removed = await guests
                .CleanUpGuestAsync(qmpSocketPath, isForced: false, _ending.Token).ConfigureAwait(false);
            foreach (string sentence in removed)
            {
                log.Say($"guest of {qmpSocketPath}: {sentence}");
            }

            state.RemoveQmpSocket(qmpSocketPath);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.QemuNotRunning)
        {
            Forget(qmpSocketPath);
        }
        catch (BlockException e)
        {
            log.Say($"guest of {qmpSocketPath}: could not look for what a host before has left: {e.Message}");
        }
        catch (OperationCanceledException)
        {
            // The next host looks.
        }
    }

    // Its QEMU has ended, and all that was added to it with it.
    private void Forget(string qmpSocketPath)
    {
        try
        {
            state.RemoveQmpSocket(qmpSocketPath);
        }
        catch (BlockException e)
        {
            log.Say($"can't note that the guest of {qmpSocketPath} has ended: {e.Message}");
        }
    }
}
