// SPDX-License-Identifier: MIT
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Load;

/// <summary>Takes all room of a file system, and gives it back, by turns.</summary>
internal sealed class Filler(string folder, Seeds seeds)
{
    private readonly string _path = Path.Combine(folder, World.BallastName);

    /// <summary>Runs until the token ends it; then there is room.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(seeds.Next(100), cancellationToken);
                Fill();
                await Task.Delay(seeds.Next(100), cancellationToken);
                File.Delete(_path);
            }
        }
        catch (OperationCanceledException)
        {
            File.Delete(_path);
        }
    }

    private void Fill()
    {
        using FileStream file = new(_path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] data = new byte[1 << 20];
        for (int length = data.Length; length >= 4096;)
        {
            try
            {
                file.Write(data, 0, length);
            }
            catch (IOException)
            {
                length /= 2; // Full for so much: the last pages are taken as well.
            }
        }
    }
}
