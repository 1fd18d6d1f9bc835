// SPDX-License-Identifier: MIT
namespace Fleece.Resuming.Tests.Serving;

/// <summary>Tells at the end of a class of tests how often a host was killed at each step.</summary>
/// <remarks>A step with 0 in a long run is one about which the run proves nothing.</remarks>
public sealed class KillPointLedger : IDisposable
{
    public void Dispose()
    {
        string[] lines = [.. KillPoints.Counts.Select(point => $"{point.Count,6} {point.Name}")];
        Console.WriteLine($"Hosts were killed at these steps:\n{string.Join('\n', lines)}");
    }
}
