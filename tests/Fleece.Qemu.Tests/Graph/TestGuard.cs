// SPDX-License-Identifier: MIT
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>A guard that freezes nothing, or pretends to, and counts.</summary>
internal sealed class TestGuard(bool freezes = false, bool thawsInTime = true) : IInstantGuard
{
    public int FreezeCount { get; private set; }

    public bool IsFrozen { get; private set; }

    public bool Freezes => freezes;

    /// <summary>What happens while the guest is being frozen.</summary>
    public Func<Task> DuringFreeze { get; init; } = () => Task.CompletedTask;

    public async ValueTask FreezeAsync(CancellationToken cancellationToken)
    {
        FreezeCount++;
        IsFrozen = true;
        await DuringFreeze();
    }

    public ValueTask<bool> ThawAsync()
    {
        IsFrozen = false;
        return ValueTask.FromResult(thawsInTime);
    }

    public ValueTask DisposeAsync() => default;
}
