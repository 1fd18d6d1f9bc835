// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Images.Chain;

/// <summary>The files that an image may name, and what its chain may cost (docs/formats/strangers.md).</summary>
/// <remarks>Threading. One thread opens a chain.</remarks>
internal sealed record ReferencePolicy
{
    private int _imageCount;
    private long _tableBytes;

    /// <summary>As <see cref="ImageOpenOptions.MustStayInFolder"/>.</summary>
    public bool MustStayInFolder { get; init; }

    /// <summary>True for an image that is no file: it may name none.</summary>
    public bool IsOnNode { get; init; }

    /// <summary>True to use data files outside the folders of the images that name them.</summary>
    public bool AllowsOutsideDataFile { get; init; }

    /// <summary>The user's parameters, for messages.</summary>
    public ImageParameters Parameters { get; init; } = ImageParameters.Default;

    /// <summary>The limits of an untrusted image; null for a trusted one.</summary>
    public UntrustedLimits? Limits { get; init; }

    /// <summary>Hears of each file that is opened; null for none.</summary>
    public ImageFiles? Files { get; init; }

    /// <summary>As <see cref="ImageOpenOptions.CheckPlace"/>.</summary>
    public Action<string>? CheckPlace { get; init; }

    /// <summary>Watches each file that is opened; null for no watch.</summary>
    public Action<LocalFile>? Watch { get; init; }

    /// <summary>The policy that a caller asked for.</summary>
    public static ReferencePolicy From(ImageOpenOptions options) => new()
    {
        MustStayInFolder = options.MustStayInFolder,
        AllowsOutsideDataFile = options.AllowsOutsideDataFile,
        Parameters = options.Parameters,
        Limits = options.Untrusted,
        Files = options.Files,
        CheckPlace = options.CheckPlace,
        Watch = options.Watch,
    };

    /// <summary>Counts one more image of the chain, by what its header claims.</summary>
    /// <exception cref="BlockException">LimitExceeded; why the header can't be read.</exception>
    public void Admit(IImageDriver driver, IContainerFile file)
    {
        if (Limits is not { } limits)
        {
            return;
        }

        if (++_imageCount > limits.MaximumImages)
        {
            throw UntrustedLimits.Exceeded(file.Path, $"its chain has more than {limits.MaximumImages} images");
        }

        ImageClaims claims = driver.Measure(file);
        if (claims.DiskBytes > limits.MaximumDiskBytes)
        {
            throw UntrustedLimits.Exceeded(
                file.Path, $"it claims a disk of {claims.DiskBytes} bytes, and {limits.MaximumDiskBytes} are the most");
        }

        // Each is below what a long holds, and the sum ends at the limit.
        if (claims.TableBytes > limits.MaximumTableBytes - _tableBytes)
        {
            throw UntrustedLimits.Exceeded(
                file.Path,
                $"its tables and bitmaps claim {claims.TableBytes} bytes of memory, and a chain may have {limits.MaximumTableBytes} in " +
                "all");
        }

        _tableBytes += claims.TableBytes;
    }

    /// <summary>The error of an image that is no file and names one.</summary>
    public static BlockException RefuseFromNode(string imagePath, string namedPath, string part) => new(
        ImageErrors.ReferenceRefused,
        $"The image on '{imagePath}' has its {part} in '{namedPath}', and a name means nothing on an export, which has no folder. Copy " +
        "the image to a file in the folder that it was made in, or make it one image with 'qemu-img convert' where both are to be had, " +
        "and put that on the export.",
        imagePath,
        operation: "open");

    /// <summary>The error of a parent outside the folder of an untrusted image.</summary>
    /// <param name="childPath">The image that names the parent.</param>
    /// <param name="parentPath">The parent.</param>
    /// <param name="imagePath">The image that the user named.</param>
    public static BlockException RefuseParent(string childPath, string parentPath, string imagePath) => new(
        ImageErrors.ReferenceRefused,
        $"'{childPath}' names the parent '{parentPath}', which lies outside the folder of '{imagePath}', and -Untrusted refuses that: " +
        $"its content would show through the disk. {UntrustedLimits.TrustAdvice}, or put a copy of the parent into the " +
        "folder and record that one.",
        childPath,
        operation: "open");

    /// <summary>The error of a data file outside the folder of its image.</summary>
    public BlockException RefuseDataFile(string imagePath, string dataPath, bool isReadOnly) => new(
        ImageErrors.ReferenceRefused,
        $"'{imagePath}' has its data in '{dataPath}', which lies outside its folder. " +
        (isReadOnly ? "The content of that file would be shown as the disk's" : "What guests write to the disk would go into that file") +
        ", so an image can't choose it. " +
        (Parameters.AllowOutsideDataFile is not { } parameter ? "Name another image." :
            $"Use {parameter} if you know that the file belongs to the image; Convert-FleeceImage {parameter} makes one file of both."),
        imagePath,
        operation: "open");

    /// <summary>The error of an image of a repository that has a data file.</summary>
    public static BlockException RefuseDataFileOfRepository(string imagePath, string dataPath) => new(
        ImageErrors.ReferenceRefused,
        $"'{imagePath}' has its data in '{dataPath}', and an image of a repository is one file. Put back the one that Fleece has written.",
        imagePath,
        operation: "open");

    /// <summary>The error of an untrusted image that has a data file, wherever it lies.</summary>
    public static BlockException RefuseAnyDataFile(string imagePath, string dataPath) => new(
        ImageErrors.ReferenceRefused,
        $"'{imagePath}' has its data in '{dataPath}', and -Untrusted refuses data files: nothing in such a file says that it belongs to " +
        $"the image, so any file could be named. {UntrustedLimits.TrustAdvice}. If you do not, let its sender make it one " +
        "file: 'qemu-img convert' on this machine would copy the file that it names.",
        imagePath,
        operation: "open");
}
