// SPDX-License-Identifier: MIT
namespace Fleece.Peers.Tests;

/// <summary>Waits for what another process brings about and nobody announces.</summary>
internal static class Wait
{
    public static async Task UntilAsync(Func<bool> isThere)
    {
        using CancellationTokenSource patience = new(TimeSpan.FromMinutes(5));
        while (!isThere())
        {
            await Task.Delay(1, patience.Token);
        }
    }
}
