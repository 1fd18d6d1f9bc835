// SPDX-License-Identifier: MIT
namespace Fleece.Fuzz;

/// <summary>A parser with a planted defect, a length that it trusts, so that a fuzzer that finds nothing can be told from one that
/// looks at nothing.</summary>
internal sealed class CanaryTarget : FuzzTarget
{
    private const int TableBytes = 64;

    /// <inheritdoc/>
    public override string Name => "canary";

    /// <inheritdoc/>
    public override int SmokeCases => 2000;

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        if (input.Length >= 6 && input.AsSpan().StartsWith("CNRY"u8) && input[4] == 2)
        {
            byte[] table = new byte[TableBytes];
            table[input[5]]++;
        }

        return default;
    }
}
